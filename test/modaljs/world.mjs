// What the tests share: a client with the token of the environment, and sandboxes that end with their test.
import assert from "node:assert/strict";
import { test as nodeTest } from "node:test";
import { ModalClient } from "modal";

// test that fails by its name when it hangs.
export const test = (name, run) => nodeTest(name, { timeout: 120_000 }, run);

export const modal = new ModalClient({ logLevel: "error" });

export const base = "debian:bookworm-slim";

export const app = (name = "suite") => modal.apps.fromName(name, { createIfMissing: true });

export const image = () => modal.images.fromRegistry(base);

// create a sandbox that sleeps, with changes, and ends with the test.
export async function create(t, params = {}, appName = "suite") {
  const all = { command: ["sleep", "infinity"], timeoutMs: 600_000, ...params };
  return endingWith(t, await modal.sandboxes.create(await app(appName), image(), all));
}

// endingWith a test is what a sandbox is that was made in it. Its own handle is of no use once it was terminated.
export function endingWith(t, sandbox) {
  t.after(async () => (await modal.sandboxes.fromId(sandbox.sandboxId)).terminate());
  return sandbox;
}

export async function idsOf(list) {
  const ids = [];
  for await (const sandbox of list) ids.push(sandbox.sandboxId);
  return ids;
}

// until a stream of text has brought a text: what came so far. A stream can be read on afterwards.
export async function until(stream, text) {
  const reader = stream.getReader();
  let seen = "";
  try {
    while (!seen.includes(text)) {
      const { value, done } = await reader.read();
      assert.ok(!done, `the stream ended after ${JSON.stringify(seen)}`);
      seen += value;
    }
  } finally {
    reader.releaseLock();
  }
  return seen;
}
