import assert from "node:assert/strict";
import { ModalClient, NotFoundError } from "modal";
import { modal, test } from "./world.mjs";

for (const [name, token, message] of [
  ["a wrong secret", { tokenSecret: "as-wrong" }, /UNAUTHENTICATED: Token validation failed/],
  ["an unknown token", { tokenId: "ak-nobody" }, /UNAUTHENTICATED: Token not found/],
  ["a malformed token", { tokenId: "nobody" }, /UNAUTHENTICATED: Token ID is malformed/],
]) {
  test(`${name} is refused`, async () => {
    const client = new ModalClient({ ...token, logLevel: "error" });
    await assert.rejects(client.apps.fromName("suite", { createIfMissing: true }), message);
  });
}

test("an app is made only when it is asked for", async () => {
  await assert.rejects(modal.apps.fromName("account-app"), NotFoundError);
  const made = await modal.apps.fromName("account-app", { createIfMissing: true });
  assert.match(made.appId, /^ap-/);
  assert.equal((await modal.apps.fromName("account-app", { createIfMissing: true })).appId, made.appId);
  assert.equal((await modal.apps.fromName("account-app")).appId, made.appId);
});

test("an app's name is checked", async () => {
  for (const name of ["", "a/b", "n".repeat(65), "ap-" + "x".repeat(22)]) {
    await assert.rejects(modal.apps.fromName(name, { createIfMissing: true }), /INVALID_ARGUMENT.*Invalid App name/s);
  }
});

test("an app belongs to its environment", async () => {
  const params = { createIfMissing: true, environment: "nowhere" };
  await assert.rejects(modal.apps.fromName("account-env", params), NotFoundError);
  const staging = new ModalClient({ environment: "staging", logLevel: "error" });
  const made = await staging.apps.fromName("account-env", { createIfMissing: true });
  await assert.rejects(modal.apps.fromName("account-env"), NotFoundError);
  assert.equal((await modal.apps.fromName("account-env", { environment: "staging" })).appId, made.appId);
});
