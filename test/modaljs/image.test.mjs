import assert from "node:assert/strict";
import { NotFoundError } from "modal";
import { app, base, endingWith, modal, test } from "./world.mjs";

// build an image of the base with commands, and give its ID.
async function build(commands, params) {
  return (await modal.images.fromRegistry(base).dockerfileCommands(commands, params).build(await app())).imageId;
}

test("a registry's image is built once", async () => {
  const first = await modal.images.fromRegistry("alpine:3.21").build(await app());
  assert.match(first.imageId, /^im-/);
  const again = await modal.images.fromRegistry("alpine:3.21").build(await app("another"));
  assert.equal(again.imageId, first.imageId);
});

test("an image has the programs of its distribution", async (t) => {
  const alpine = endingWith(t, await modal.sandboxes.create(await app(), modal.images.fromRegistry("alpine:3.21")));
  assert.equal(await (await alpine.exec(["sh", "-c", "true"])).wait(), 0);
  assert.equal(await (await alpine.exec(["bash", "-c", "true"])).wait(), 127);
});

test("Dockerfile commands make a layer each", async (t) => {
  const layered = modal.images
    .fromRegistry(base)
    .dockerfileCommands(["ENV COLOR=blue SHAPE=round"])
    .dockerfileCommands(["ENV COLOR=red", "RUN echo hey > /srv/hello.txt"], { env: { TOKEN: "build" }, gpu: "T4" });
  const params = { command: ["sh", "-c", "echo $COLOR $SHAPE [$TOKEN]"] };
  const sandbox = endingWith(t, await modal.sandboxes.create(await app(), layered, params));
  assert.equal(await sandbox.stdout.readText(), "red round []\n");
  assert.notEqual(layered.imageId, await build(["ENV COLOR=blue SHAPE=round"]), "that is the layer below");
});

test("equal layers are one image unless it is to be built anew", async () => {
  const first = await build(["RUN echo equal"]);
  assert.equal(await build(["RUN echo equal"]), first);
  assert.notEqual(await build(["RUN echo other"]), first);
  const forced = await build(["RUN echo equal"], { forceBuild: true });
  assert.notEqual(forced, first);
  assert.equal(await build(["RUN echo equal"]), forced);
});

test("a build that fails tells why, and is tried again", async () => {
  const failing = modal.images.fromRegistry(base).dockerfileCommands(["RUN echo hi && exit 3"]);
  for (let tries = 0; tries < 2; tries++) {
    await assert.rejects(failing.build(await app()), /^Error: Image build for im-\w+ failed with .*See build logs/s);
  }
  await assert.rejects(modal.images.fromRegistry("ghcr.io/nobody/none:1").build(await app()), /manifest unknown/);
  await assert.rejects(build(["RNU true"]), /INVALID_ARGUMENT.*unknown instruction: RNU/);
  await assert.rejects(build(["RUN true"], { gpu: "K80" }), /INVALID_ARGUMENT.*Invalid GPU type: K80/);
});

test("a private image needs its secret, also when it was built before", async () => {
  const pull = async (secret) => {
    const found = secret && (await modal.secrets.fromName(secret));
    return (await modal.images.fromRegistry("registry.example.com/team/runner:1", found).build(await app())).imageId;
  };
  await assert.rejects(pull(), /authentication required/);
  await assert.rejects(pull("registry-wrong"), /authentication required/);
  await assert.rejects(pull("plain"), /missing the key REGISTRY_USERNAME/);
  const built = await pull("registry-right");
  assert.equal(await pull("registry-right"), built);
  await assert.rejects(pull(), /authentication required/);
});

test("the registries of AWS and Google need their own keys", async () => {
  const aws = { AWS_ACCESS_KEY_ID: "AKIA1", AWS_SECRET_ACCESS_KEY: "key", AWS_REGION: "us-east-1" };
  const ecr = async (values) => {
    const secret = await modal.secrets.fromObject(values);
    return modal.images.fromAwsEcr("1.dkr.ecr.us-east-1.amazonaws.com/runner:1", secret).build(await app());
  };
  await ecr(aws);
  await assert.rejects(ecr({ ...aws, AWS_SECRET_ACCESS_KEY: "other" }), /authentication required/);
  await assert.rejects(ecr({ AWS_ACCESS_KEY_ID: "AKIA1", AWS_SECRET_ACCESS_KEY: "key" }), /missing the key AWS_REGION/);
  const gcp = async (json) => {
    const secret = await modal.secrets.fromObject({ SERVICE_ACCOUNT_JSON: json });
    return modal.images.fromGcpArtifactRegistry("us-east1-docker.pkg.dev/p/r/runner:1", secret).build(await app());
  };
  await gcp('{"type":"service_account"}');
  await assert.rejects(gcp("{}"), /authentication required/);
});

test("an image is found by its ID until it is deleted", async () => {
  const id = await build(["RUN echo to be deleted"]);
  const found = await modal.images.fromId(id);
  assert.equal(found.imageId, id);
  await modal.images.delete(id);
  await assert.rejects(modal.images.fromId(id),
    (error) => error instanceof NotFoundError && /Image .+ not found/.test(error.message));
  await assert.rejects(modal.images.delete(id), NotFoundError);
  await assert.rejects(modal.sandboxes.create(await app(), found, { command: ["true"] }), /NOT_FOUND/);
  assert.notEqual(await build(["RUN echo to be deleted"]), id);
  await assert.rejects(modal.images.fromId("im-nonexistent"), NotFoundError);
});
