import assert from "node:assert/strict";
import { create, modal, test } from "./world.mjs";

test("what is not simulated says so", async (t) => {
  const sandbox = await create(t, { encryptedPorts: [8443] });
  for (const [name, call] of Object.entries({
    tunnels: () => sandbox.tunnels(),
    files: () => sandbox.open("/etc/hostname"),
    snapshots: () => sandbox.snapshotFilesystem(),
    "snapshots of a directory": () => sandbox.snapshotDirectory("/srv"),
    "mounted images": () => sandbox.mountImage("/srv"),
    "connect tokens": () => sandbox.createConnectToken(),
    queues: () => modal.queues.fromName("q", { createIfMissing: true }),
    functions: () => modal.functions.fromName("suite", "f"),
  })) {
    await assert.rejects(call(), /UNIMPLEMENTED/, name);
  }
});
