import assert from "node:assert/strict";
import { AlreadyExistsError, ModalClient, NotFoundError } from "modal";
import { app, create, idsOf, modal, test } from "./world.mjs";

test("a name is of one running sandbox, and free again after its end", async (t) => {
  const first = await create(t, { name: "unique" }, "list-names");
  await assert.rejects(create(t, { name: "unique" }, "list-names"),
    (error) => error instanceof AlreadyExistsError && /already exists/.test(error.message));
  await create(t, { name: "unique" }, "list-other");
  await first.terminate();
  const second = await create(t, { name: "unique" }, "list-names");
  assert.notEqual(second.sandboxId, first.sandboxId);
});

test("a name is free again when the command has ended", async (t) => {
  const first = await create(t, { name: "short", command: ["true"] }, "list-names");
  assert.equal(await first.wait(), 0);
  await create(t, { name: "short" }, "list-names");
});

test("a running sandbox is found by its name", async (t) => {
  const sandbox = await create(t, { name: "named" }, "list-names");
  assert.equal((await modal.sandboxes.fromName("list-names", "named")).sandboxId, sandbox.sandboxId);
  await sandbox.terminate();
  await assert.rejects(modal.sandboxes.fromName("list-names", "named"), NotFoundError);
  await assert.rejects(modal.sandboxes.fromName("list-nowhere", "named"), NotFoundError);
  await assert.rejects(modal.sandboxes.fromName("list-names", "named", { environment: "staging" }), NotFoundError);
});

test("a sandbox is found by its ID, also after its end", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "exit 4"] });
  assert.equal(await sandbox.wait(), 4);
  assert.equal(await (await modal.sandboxes.fromId(sandbox.sandboxId)).poll(), 4);
  await assert.rejects(modal.sandboxes.fromId("sb-none"), NotFoundError);
});

test("the list has all running sandboxes of an app over its pages, newest first", async (t) => {
  const { appId } = await app("list-pages");
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId })), []);
  const ids = [];
  for (let i = 0; i < 8; i++) ids.unshift((await create(t, {}, "list-pages")).sandboxId);
  await create(t, {}, "list-other");
  const ended = await create(t, { command: ["true"] }, "list-pages");
  await ended.wait();
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId })), ids);
  const all = await idsOf(modal.sandboxes.list());
  assert.ok(ids.every((id) => all.includes(id)));
  assert.ok(!all.includes(ended.sandboxId));
});

test("the list is of one environment", async (t) => {
  const { appId } = await app("list-environment");
  const sandbox = await create(t, {}, "list-environment");
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId, environment: "staging" })), []);
  const staging = new ModalClient({ environment: "staging", logLevel: "error" });
  assert.deepEqual(await idsOf(staging.sandboxes.list({ tags: {} })), []);
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId })), [sandbox.sandboxId]);
});

test("an app that is none has no list", async () => {
  await assert.rejects(idsOf(modal.sandboxes.list({ appId: "ap-none" })), /NOT_FOUND/);
});

test("tags are replaced as a whole", async (t) => {
  const sandbox = await create(t);
  assert.deepEqual(await sandbox.getTags(), {});
  await sandbox.setTags({ pool: "p", runner: "1" });
  assert.deepEqual(await sandbox.getTags(), { pool: "p", runner: "1" });
  await sandbox.setTags({ runner: "2" });
  assert.deepEqual(await sandbox.getTags(), { runner: "2" });
  await sandbox.setTags({});
  assert.deepEqual(await sandbox.getTags(), {});
  await assert.rejects(sandbox.setTags({ "": "x" }), { name: "InvalidError" });
});

test("the list is filtered by all of the tags", async (t) => {
  const a = await create(t), b = await create(t);
  await a.setTags({ "list-pool": "p", "list-runner": "1" });
  await b.setTags({ "list-pool": "p", "list-runner": "2" });
  const tagged = async (tags) => idsOf(modal.sandboxes.list({ tags }));
  assert.deepEqual(await tagged({ "list-pool": "p" }), [b.sandboxId, a.sandboxId]);
  assert.deepEqual(await tagged({ "list-pool": "p", "list-runner": "1" }), [a.sandboxId]);
  assert.deepEqual(await tagged({ "list-pool": "p", "list-more": "not set" }), []);
  const { appId } = await app("list-other");
  assert.deepEqual(await idsOf(modal.sandboxes.list({ appId, tags: { "list-pool": "p" } })), []);
});
