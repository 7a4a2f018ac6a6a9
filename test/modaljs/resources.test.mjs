import assert from "node:assert/strict";
import { InvalidError, NotFoundError } from "modal";
import { create, modal, test } from "./world.mjs";

test("a secret is found by its name, with the keys that are required", async () => {
  const found = await modal.secrets.fromName("plain");
  assert.match(found.secretId, /^st-/);
  assert.equal((await modal.secrets.fromName("plain", { requiredKeys: ["USER_NAME"] })).secretId, found.secretId);
  await assert.rejects(modal.secrets.fromName("plain", { requiredKeys: ["USER_NAME", "Y", "Z"] }),
    (error) => error instanceof NotFoundError && /Secret is missing key\(s\): Y, Z/.test(error.message));
  await assert.rejects(modal.secrets.fromName("missing-secret"),
    (error) => error instanceof NotFoundError && /Secret 'missing-secret' not found/.test(error.message));
  await assert.rejects(modal.secrets.fromName("plain", { environment: "staging" }), NotFoundError);
});

test("a secret is made of an object", async (t) => {
  const first = await modal.secrets.fromObject({ A: "1", B: "1", C: "1" });
  const second = await modal.secrets.fromObject({ B: "2", C: "2" });
  assert.notEqual(first.secretId, second.secretId);
  const sandbox = await create(t, {
    command: ["sh", "-c", "echo $A $B $C"], secrets: [first, second], env: { C: "3 with\na second line" },
  });
  assert.equal(await sandbox.stdout.readText(), "1 2 3 with a second line\n");
});

test("what cannot be a variable is refused", async () => {
  for (const name of ["", "1A", "A-B", "A=B", "A B"]) {
    await assert.rejects(modal.secrets.fromObject({ [name]: "x" }), InvalidError);
  }
  await assert.rejects(modal.secrets.fromObject({ A: "x".repeat(131_072) }), InvalidError);
  await assert.rejects(modal.secrets.fromObject({ A: "a\0b" }), InvalidError);
});

test("a secret that was deleted is gone", async () => {
  await modal.secrets.delete("to-be-deleted");
  await assert.rejects(modal.secrets.fromName("to-be-deleted"), NotFoundError);
  await assert.rejects(modal.secrets.delete("to-be-deleted"), NotFoundError);
  await modal.secrets.delete("to-be-deleted", { allowMissing: true });
});

test("a volume is made only when it is asked for", async () => {
  await assert.rejects(modal.volumes.fromName("resources-volume"),
    (error) => error instanceof NotFoundError && /Volume 'resources-volume' not found/.test(error.message));
  const made = await modal.volumes.fromName("resources-volume", { createIfMissing: true });
  assert.match(made.volumeId, /^vo-/);
  assert.equal((await modal.volumes.fromName("resources-volume")).volumeId, made.volumeId);
  assert.equal(made.readOnly().volumeId, made.volumeId);
  await modal.volumes.delete("resources-volume");
  await assert.rejects(modal.volumes.fromName("resources-volume"), NotFoundError);
  await modal.volumes.delete("resources-volume", { allowMissing: true });
  await assert.rejects(modal.volumes.fromName("a/b", { createIfMissing: true }), /INVALID_ARGUMENT/);
});

test("an ephemeral volume has no name", async (t) => {
  const volume = await modal.volumes.ephemeral();
  t.after(() => volume.closeEphemeral());
  assert.match(volume.volumeId, /^vo-/);
  assert.equal(volume.name, undefined);
  const other = await modal.volumes.ephemeral();
  t.after(() => other.closeEphemeral());
  assert.notEqual(other.volumeId, volume.volumeId);
  const sandbox = await create(t, { command: ["true"], volumes: { "/mnt/a": volume, "/mnt/b": other.readOnly() } });
  assert.equal(await sandbox.wait(), 0);
});

test("a proxy is found by its name", async () => {
  assert.match((await modal.proxies.fromName("egress")).proxyId, /^pr-/);
  await assert.rejects(modal.proxies.fromName("none"), NotFoundError);
});
