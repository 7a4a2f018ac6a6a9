import assert from "node:assert/strict";
import { create, test, until } from "./world.mjs";

const ctrlC = "\x03", ctrlD = "\x04";

test("a terminal is what the command has", async (t) => {
  const asked = "tty; stty size; echo $TERM $COLORTERM; echo oops >&2; exit 9";
  const run = await (await create(t)).exec(["sh", "-c", asked], { pty: true });
  const lines = (await run.stdout.readText()).split("\r\n");
  assert.match(lines[0], /^\/dev\/pts\/\d+$/);
  assert.deepEqual(lines.slice(1), ["24 80", "xterm-256color truecolor", "oops", ""]);
  assert.equal(await run.stderr.readText(), "");
  assert.equal(await run.wait(), 9);
});

test("without one there is none", async (t) => {
  const run = await (await create(t)).exec(["tty"]);
  assert.equal(await run.stdout.readText(), "not a tty\n");
  assert.equal(await run.wait(), 1);
});

test("a terminal echoes its input", async (t) => {
  const run = await (await create(t)).exec(["cat"], { pty: true });
  await run.stdin.writeText("hello\n");
  assert.equal(await until(run.stdout, "hello\r\nhello\r\n"), "hello\r\nhello\r\n");
  await run.stdin.writeText(ctrlD);
  assert.equal(await run.wait(), 0);
});

test("Ctrl-C interrupts", async (t) => {
  const run = await (await create(t)).exec(["sleep", "1000"], { pty: true });
  await run.stdin.writeText(ctrlC);
  assert.equal(await run.stdout.readText(), "^C");
  assert.equal(await run.wait(), 130);
});

test("a shell in a terminal is spoken with", async (t) => {
  const run = await (await create(t)).exec(["sh", "-i"], { pty: true, env: { PS1: "ready> ", ENV: "" } });
  await until(run.stdout, "ready> ");
  await run.stdin.writeText("echo $((20 + 22))\n");
  await until(run.stdout, "42\r\n");
  await run.stdin.writeText("exit 3\n");
  assert.equal(await run.wait(), 3);
});

test("a closed stdin is the end of a terminal's input", async (t) => {
  const run = await (await create(t)).exec(["cat"], { pty: true });
  await run.stdin.writeText("no end of line");
  await run.stdin.close();
  assert.match(await run.stdout.readText(), /^no end of line.*no end of line/s);
  assert.equal(await run.wait(), 0);
});

test("a command in a terminal is killed by its timeout", async (t) => {
  const run = await (await create(t)).exec(["sleep", "1000"], { pty: true, timeoutMs: 3000 });
  assert.equal(await run.wait(), 137);
});

test("a sandbox's own command may have a terminal", async (t) => {
  const sandbox = await create(t, { command: ["sh", "-c", "stty size; read line; echo said $line >&2; exit 5"], pty: true });
  await until(sandbox.stdout, "24 80\r\n");
  await sandbox.stdin.writeText("hi\n");
  assert.equal(await sandbox.wait(), 5);
  assert.equal(await sandbox.stdout.readText(), "hi\r\nsaid hi\r\n");
  assert.equal(await sandbox.stderr.readText(), "");
});
