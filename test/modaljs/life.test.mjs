import assert from "node:assert/strict";
import { ClientClosedError } from "modal";
import { create, modal, test, until } from "./world.mjs";

for (const [name, command, code] of [
  ["success", ["true"], 0],
  ["failure", ["sh", "-c", "exit 7"], 7],
  ["a signal", ["sh", "-c", "kill -9 $$"], 137],
]) {
  test(`the exit code of ${name} is told`, async (t) => {
    const sandbox = await create(t, { command });
    assert.equal(await sandbox.wait(), code);
    assert.equal(await sandbox.poll(), code);
    assert.equal(await sandbox.wait(), code);
  });
}

test("a sandbox that times out has the exit code 124", async (t) => {
  const sandbox = await create(t, { timeoutMs: 1000 });
  assert.equal(await sandbox.poll(), null);
  assert.equal(await sandbox.wait(), 124);
});

test("a sandbox that is terminated has the exit code 137", async (t) => {
  const waited = await create(t);
  assert.equal(await waited.terminate({ wait: true }), 137);
  const sandbox = await create(t);
  const other = await modal.sandboxes.fromId(sandbox.sandboxId);
  assert.equal(await sandbox.terminate(), undefined);
  assert.equal(await sandbox.wait(), 137);
  assert.equal(await other.poll(), 137);
  await assert.rejects(sandbox.poll(), ClientClosedError);
  await other.terminate();
});

test("a sandbox that has ended keeps its exit code when it is terminated", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "exit 7"] });
  await sandbox.wait();
  assert.equal(await sandbox.terminate({ wait: true }), 7);
});

test("a sandbox that was idle has ended", async (t) => {
  const sandbox = await create(t, { idleTimeoutMs: 1000 });
  assert.equal(await sandbox.wait(), 0);
});

test("a detached sandbox goes on", async (t) => {
  const sandbox = await create(t);
  sandbox.detach();
  await assert.rejects(sandbox.getTags(), ClientClosedError);
  assert.equal(await (await modal.sandboxes.fromId(sandbox.sandboxId)).poll(), null);
});

test("stdout and stderr are streams of their own", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "echo out 1; echo err 1 >&2; echo añ😀; echo err 2 >&2"] });
  assert.equal(await sandbox.stdout.readText(), "out 1\nañ😀\n");
  assert.equal(await sandbox.stderr.readText(), "err 1\nerr 2\n");
  const again = await modal.sandboxes.fromId(sandbox.sandboxId);
  assert.equal(await again.stdout.readText(), "out 1\nañ😀\n", "every handle reads from the beginning");
});

test("stdout comes while the command runs, over many windows", async (t) => {
  const slowly = "for i in 1 2 3 4; do echo line $i; sleep 0.4; done; read more; echo $more";
  const sandbox = await create(t, { command: ["sh", "-c", slowly] });
  assert.equal(await until(sandbox.stdout, "line 4"), "line 1\nline 2\nline 3\nline 4\n");
  assert.equal(await sandbox.poll(), null);
  await sandbox.stdin.writeText("the rest\n");
  assert.equal(await sandbox.stdout.readText(), "the rest\n");
  assert.equal(await sandbox.wait(), 0);
});

test("much output comes whole", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "seq 1 60000"] });
  const text = await sandbox.stdout.readText();
  assert.equal(text, Array.from({ length: 60000 }, (_, i) => `${i + 1}\n`).join(""));
});

test("a stream may be left", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "echo begun; sleep infinity"] });
  const reader = sandbox.stdout.getReader();
  assert.equal((await reader.read()).value, "begun\n");
  await reader.cancel();
  assert.equal(await sandbox.terminate({ wait: true }), 137);
});

test("the command reads its stdin until that is closed", async (t) => {
  const sandbox = await create(t, { command: ["cat"] });
  await sandbox.stdin.writeText("this is input ");
  await sandbox.stdin.writeBytes(new TextEncoder().encode("that cat mirrors"));
  assert.equal(await sandbox.poll(), null);
  await sandbox.stdin.close();
  assert.equal(await sandbox.stdout.readText(), "this is input that cat mirrors");
  assert.equal(await sandbox.wait(), 0);
});

test("a sandbox that has ended takes no input", async (t) => {
  const sandbox = await create(t, { command: ["true"] });
  assert.equal(await sandbox.wait(), 0);
  await assert.rejects(sandbox.stdin.writeText("too late"), /FAILED_PRECONDITION/);
});
