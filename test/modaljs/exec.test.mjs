import assert from "node:assert/strict";
import { ClientClosedError, InvalidError, Secret } from "modal";
import { create, modal, test } from "./world.mjs";

test("a command has a stdout, a stderr and an exit code", async (t) => {
  const sandbox = await create(t);
  const run = await sandbox.exec(["sh", "-c", "echo out; echo err >&2; exit 6"]);
  assert.equal(await run.stdout.readText(), "out\n");
  assert.equal(await run.stderr.readText(), "err\n");
  assert.equal(await run.wait(), 6);
  assert.equal(await sandbox.poll(), null);
});

test("a command ends though its stdin is open", async (t) => {
  const sandbox = await create(t);
  assert.equal(await (await sandbox.exec(["true"])).wait(), 0);
});

test("a command reads its stdin until that is closed", async (t) => {
  const run = await (await create(t)).exec(["sh", "-c", "while read line; do echo got $line; done"]);
  await run.stdin.writeText("foo\nb");
  await run.stdin.writeText("ar\n");
  await run.stdin.close();
  assert.equal(await run.stdout.readText(), "got foo\ngot bar\n");
  assert.equal(await run.wait(), 0);
});

test("input and output may be large and binary", async (t) => {
  const run = await (await create(t)).exec(["cat"], { mode: "binary" });
  const sent = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
  const received = run.stdout.readBytes();
  for (let at = 0; at < sent.length; at += 100_000) await run.stdin.writeBytes(sent.subarray(at, at + 100_000));
  await run.stdin.close();
  assert.ok(Buffer.from(await received).equals(Buffer.from(sent)));
  assert.equal(await run.wait(), 0);
});

test("a command that has ended takes no input", async (t) => {
  const run = await (await create(t)).exec(["true"]);
  assert.equal(await run.wait(), 0);
  await assert.rejects(run.stdin.writeText("too late"), /FAILED_PRECONDITION/);
});

test("an output may be ignored", async (t) => {
  const run = await (await create(t)).exec(["sh", "-c", "seq 1 100000; echo err >&2"], { stdout: "ignore" });
  assert.equal(await run.stdout.readText(), "");
  assert.equal(await run.stderr.readText(), "err\n");
  assert.equal(await run.wait(), 0);
});

test("a command runs in its workdir", async (t) => {
  const sandbox = await create(t, { workdir: "/usr" });
  const where = async (params) => (await sandbox.exec(["pwd"], params)).stdout.readText();
  assert.equal(await where(), "/usr\n");
  assert.equal(await where({ workdir: "/tmp" }), "/tmp\n");
  await assert.rejects(sandbox.exec(["pwd"], { workdir: "relative" }), /INVALID_ARGUMENT.*absolute path/);
});

test("a command has the sandbox's environment, its own secrets and its own variables, the later ones winning", async (t) => {
  const sandbox = await create(t, { env: { A: "sandbox", B: "sandbox", C: "sandbox", D: "sandbox" } });
  const first = await modal.secrets.fromObject({ B: "first", C: "first", D: "first" });
  const second = await modal.secrets.fromObject({ C: "second", D: "second" });
  const run = await sandbox.exec(["sh", "-c", "echo $A $B $C $D"], { secrets: [first, second], env: { D: "env" } });
  assert.equal(await run.stdout.readText(), "sandbox first second env\n");
  const later = await sandbox.exec(["sh", "-c", "echo $A $B $C $D"]);
  assert.equal(await later.stdout.readText(), "sandbox sandbox sandbox sandbox\n");
  await assert.rejects(sandbox.exec(["true"], { secrets: [new Secret("st-none")] }), /NOT_FOUND.*Secret/);
});

test("a command that times out is killed", async (t) => {
  const run = await (await create(t)).exec(["sleep", "1000"], { timeoutMs: 3000 });
  assert.equal(await run.wait(), 137);
});

test("a command that kills itself has its signal in the exit code", async (t) => {
  const run = await (await create(t)).exec(["sh", "-c", "kill -9 $$"]);
  assert.equal(await run.wait(), 137);
});

test("a program that is missing has the exit code 127", async (t) => {
  const run = await (await create(t)).exec(["nonesuch"]);
  assert.match(await run.stderr.readText(), /nonesuch/);
  assert.equal(await run.wait(), 127);
});

test("what is no command is refused", async (t) => {
  const sandbox = await create(t);
  await assert.rejects(sandbox.exec([]), /INVALID_ARGUMENT/);
  await assert.rejects(sandbox.exec(["echo", "a\0b"]), /INVALID_ARGUMENT/);
  await assert.rejects(sandbox.exec(["echo", "x".repeat(2 ** 16)]), InvalidError);
});

test("commands run beside each other", async (t) => {
  const sandbox = await create(t);
  const runs = await Promise.all([1, 2, 3, 4, 5].map((i) => sandbox.exec(["sh", "-c", `read go; echo ${i}; exit ${i}`])));
  for (const run of runs.toReversed()) await run.stdin.writeText("go\n");
  for (const [at, run] of runs.entries()) {
    assert.equal(await run.stdout.readText(), `${at + 1}\n`);
    assert.equal(await run.wait(), at + 1);
  }
});

test("a command ends with its sandbox", async (t) => {
  const sandbox = await create(t);
  const other = await modal.sandboxes.fromId(sandbox.sandboxId);
  const run = await sandbox.exec(["sleep", "1000"]);
  await other.terminate();
  assert.equal(await run.wait(), 137);
  await assert.rejects(sandbox.exec(["true"]), /FAILED_PRECONDITION/);
  await assert.rejects(other.exec(["true"]), ClientClosedError);
  await assert.rejects((await modal.sandboxes.fromId(sandbox.sandboxId)).exec(["true"]), /already completed/);
});
