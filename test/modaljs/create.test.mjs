import assert from "node:assert/strict";
import { AlreadyExistsError, App, Proxy, Secret, Volume } from "modal";
import { app, base, create, idsOf, image, modal, test } from "./world.mjs";

// The Go side sees that all this has arrived, in TestSuite.
test("a sandbox with every option", async (t) => {
  const plain = await modal.secrets.fromName("plain");
  const cache = await modal.volumes.fromName("create-cache", { createIfMissing: true });
  const data = await modal.volumes.fromName("create-data", { createIfMissing: true });
  const bucket = modal.cloudBucketMounts.create("artifacts", {
    secret: plain, readOnly: true, requesterPays: true, keyPrefix: "ci/", bucketEndpointUrl: "https://1.r2.cloudflarestorage.com",
  });
  const sandbox = await create(t, {
    name: "every-option",
    command: ["sh", "-c", 'test -t 0 && echo "$COLOR $USER_NAME"; pwd; sleep infinity'],
    cpu: 2.5, cpuLimit: 4, memoryMiB: 512, memoryLimitMiB: 1024, gpu: "h100:2",
    timeoutMs: 86_400_000, idleTimeoutMs: 3_600_000,
    workdir: "/usr",
    env: { COLOR: "blue" }, secrets: [plain],
    volumes: { "/mnt/cache": cache, "/mnt/data": data.readOnly() },
    cloudBucketMounts: { "/mnt/bucket": bucket },
    pty: true,
    encryptedPorts: [8443], h2Ports: [8444], unencryptedPorts: [8080],
    cidrAllowlist: ["10.0.0.0/8", "192.168.0.0/16"],
    cloud: "aws", regions: ["us-east", "us-west-2"],
    verbose: true,
    proxy: await modal.proxies.fromName("egress"),
    experimentalOptions: { enable_docker: true },
  }, "create");
  const lines = sandbox.stdout.getReader();
  let seen = "";
  while (!seen.includes("/usr\r\n")) seen += (await lines.read()).value;
  assert.equal(seen, "blue robot\r\n/usr\r\n");
  await lines.cancel();
});

test("a sandbox without any option stays", async () => {
  const sandbox = await modal.sandboxes.create(await app("create-default"), image());
  assert.match(sandbox.sandboxId, /^sb-/);
  assert.equal(await sandbox.poll(), null);
  assert.equal(await sandbox.terminate({ wait: true }), 137);
});

test("a sandbox may have no network", async (t) => {
  await create(t, { name: "no-network", blockNetwork: true }, "create");
  await assert.rejects(create(t, { blockNetwork: true, encryptedPorts: [1] }), /INVALID_ARGUMENT/);
});

for (const [name, params, message] of [
  ["a timeout over a day", { timeoutMs: 86_401_000 }, /INVALID_ARGUMENT.*timeout/],
  ["an idle timeout over a day", { idleTimeoutMs: 86_401_000 }, /INVALID_ARGUMENT.*idle timeout/],
  ["an unknown region", { regions: ["us-east", "invalid-region"] }, /INVALID_ARGUMENT.*Invalid region: invalid-region/],
  ["an unknown cloud", { cloud: "invalid-cloud" }, /INVALID_ARGUMENT/],
  ["an unknown GPU", { gpu: "K80" }, /INVALID_ARGUMENT.*Invalid GPU type: K80/],
  ["too many GPUs", { gpu: "T4:9" }, /INVALID_ARGUMENT/],
  ["too many GPUs of a small kind", { gpu: "a10:5" }, /INVALID_ARGUMENT/],
  ["too little CPU", { cpu: 0.1 }, /INVALID_ARGUMENT.*CPU/],
  ["too much CPU", { cpu: 65 }, /INVALID_ARGUMENT.*CPU/],
  ["too much memory", { memoryMiB: 344_065 }, /INVALID_ARGUMENT.*Memory/],
  ["a CIDR that is none", { cidrAllowlist: ["not-an-ip/8"] }, /Invalid CIDR: not-an-ip\/8/],
  ["a port twice", { encryptedPorts: [80], unencryptedPorts: [80] }, /INVALID_ARGUMENT.*port/],
  ["a name with a slash", { name: "a/b" }, /INVALID_ARGUMENT.*Invalid Sandbox name/],
  ["an empty program", { command: [""] }, /INVALID_ARGUMENT/],
  ["a domain that is not set up", { customDomain: "ci.example.com" }, /PERMISSION_DENIED/],
  ["an unknown secret", { secrets: [new Secret("st-none")] }, /NOT_FOUND.*Secret/],
  ["an unknown volume", { volumes: { "/data": new Volume("vo-none") } }, /NOT_FOUND.*Volume/],
  ["an unknown proxy", { proxy: new Proxy("pr-none") }, /NOT_FOUND.*Proxy/],
]) {
  test(`${name} is refused`, async (t) => {
    await assert.rejects(create(t, params, "create-refused"), message);
  });
}

for (const [name, place] of [
  ["no absolute path", "data"], ["the root", "/"], ["Modal's own /root", "/root"], ["/tmp", "/tmp"],
  ["a path that is not canonical", "/mnt/../data"],
]) {
  test(`a mount at ${name} is refused`, async (t) => {
    const volume = await modal.volumes.fromName("create-cache", { createIfMissing: true });
    const bucket = modal.cloudBucketMounts.create("artifacts");
    await assert.rejects(create(t, { volumes: { [place]: volume } }, "create-refused"), /INVALID_ARGUMENT/);
    await assert.rejects(create(t, { cloudBucketMounts: { [place]: bucket } }, "create-refused"), /INVALID_ARGUMENT/);
  });
}

test("mounts in each other's place are refused", async (t) => {
  const volume = await modal.volumes.fromName("create-cache", { createIfMissing: true });
  const bucket = modal.cloudBucketMounts.create("artifacts");
  await assert.rejects(create(t, { volumes: { "/a": volume, "/b": volume } }, "create-refused"), /INVALID_ARGUMENT.*same Volume/);
  const both = { volumes: { "/a": volume }, cloudBucketMounts: { "/a": bucket } };
  await assert.rejects(create(t, both, "create-refused"), /INVALID_ARGUMENT/);
  const stranger = modal.cloudBucketMounts.create("artifacts", { secret: new Secret("st-none") });
  await assert.rejects(create(t, { cloudBucketMounts: { "/a": stranger } }, "create-refused"), /NOT_FOUND.*Secret/);
});

test("an app that is none is refused", async () => {
  const built = await image().build(await app("create"));
  await assert.rejects(modal.sandboxes.create(new App("ap-none", "none"), built), /NOT_FOUND.*App/);
});

test("what was refused has made nothing", async (t) => {
  await create(t, { name: "taken" }, "create-refused");
  await assert.rejects(create(t, { name: "taken" }, "create-refused"), AlreadyExistsError);
  const { appId } = await app("create-refused");
  assert.equal((await idsOf(modal.sandboxes.list({ appId }))).length, 1);
});

test("an image is built on the way", async (t) => {
  const layered = modal.images.fromRegistry(base).dockerfileCommands(["RUN echo on the way"]);
  assert.equal(layered.imageId, "");
  const sandbox = await modal.sandboxes.create(await app("create"), layered);
  t.after(() => sandbox.terminate());
  assert.match(layered.imageId, /^im-/);
});
