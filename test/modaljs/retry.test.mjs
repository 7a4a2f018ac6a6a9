// The Go side injects the faults, by the names here, and counts that each has happened.
import assert from "node:assert/strict";
import { AlreadyExistsError } from "modal";
import { app, create, idsOf, modal, test } from "./world.mjs";

test("a sandbox whose creation is answered only at the third try is one sandbox", async (t) => {
  const sandbox = await create(t, { name: "lost-answer" }, "retry");
  assert.equal((await modal.sandboxes.fromName("retry", "lost-answer")).sandboxId, sandbox.sandboxId);
  const { appId } = await app("retry");
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId })), [sandbox.sandboxId]);
  await assert.rejects(create(t, { name: "lost-answer" }, "retry"), AlreadyExistsError);
});

test("a service that is unavailable three times is asked a fourth time", async (t) => {
  const sandbox = await create(t, { name: "unavailable" }, "retry");
  assert.equal(await sandbox.poll(), null);
});

test("a limit is told at once", async (t) => {
  await assert.rejects(create(t, { name: "over-the-limit" }, "retry"), /RESOURCE_EXHAUSTED: spend limit reached/);
});

test("input that is sent again is read once", async (t) => {
  const sandbox = await create(t, { command: ["cat"] });
  await sandbox.stdin.writeText("lost-input");
  await sandbox.stdin.close();
  assert.equal(await sandbox.stdout.readText(), "lost-input");
});

test("a command that is started again runs once", async (t) => {
  const run = await (await create(t)).exec(["sh", "-c", "echo started; cat # lost-exec"]);
  await run.stdin.writeText("lost-input");
  await run.stdin.close();
  assert.equal(await run.stdout.readText(), "started\nlost-input");
  assert.equal(await run.wait(), 0);
});
