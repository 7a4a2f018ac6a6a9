package modal_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func (w *world) build(app *sdk.App, tag string, commands ...string) (string, error) {
	image, err := w.client.Images.FromRegistry(tag, nil).DockerfileCommands(commands, nil).Build(w.ctx, app)
	if err != nil {
		return "", err
	}
	return image.ImageID, nil
}

func TestImagesAreCachedByContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	first := must(w.build(app, base, "RUN one"))
	w.Expect(w.server.Images()).To(HaveLen(2), "the base and the layer")
	w.Expect(must(w.build(w.app("other"), base, "RUN one"))).To(Equal(first))
	w.Expect(w.server.Images()).To(HaveLen(2))
	w.Expect(w.server.Images()[1].CacheHits).To(Equal(1))
	w.Expect(must(w.build(app, base, "RUN two"))).NotTo(Equal(first))
	w.Expect(w.server.Images()).To(HaveLen(3), "the base is shared")

	forced, err := w.client.Images.FromRegistry(base, nil).DockerfileCommands([]string{"RUN one"},
		&sdk.ImageDockerfileCommandsParams{ForceBuild: true}).Build(w.ctx, app)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(forced.ImageID).NotTo(Equal(first))
	w.Expect(must(w.build(app, base, "RUN one"))).To(Equal(forced.ImageID))

	w.Expect(w.client.Images.Delete(w.ctx, forced.ImageID, nil)).To(Succeed())
	_, err = w.client.Images.FromID(w.ctx, forced.ImageID)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
	_, err = w.client.Sandboxes.Create(w.ctx, app, forced, &sdk.SandboxCreateParams{Command: []string{"sh"}})
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
	w.Expect(must(w.build(app, base, "RUN one"))).NotTo(Equal(forced.ImageID))
}

func TestConcurrentBuildsOfOneContentAreOne(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, ImageBuildTime: time.Minute})
	app := w.app("ci")
	var waiting sync.WaitGroup
	ids := make([]string, 5)
	for i := range ids {
		waiting.Go(func() { ids[i], _ = w.build(app, base, "RUN one") })
	}
	done := make(chan struct{})
	go func() { waiting.Wait(); close(done) }()
	w.Eventually(func() <-chan struct{} { fake.Step(5 * time.Second); return done }).Should(BeClosed())
	w.Expect(w.server.Images()).To(HaveLen(2))
	for _, id := range ids {
		w.Expect(id).To(Equal(w.server.Images()[1].ID))
	}
}

func TestBuildLogIsStreamedBeforeTheResult(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, ImageBuildTime: time.Minute})
	app, raw := w.app("ci"), w.authenticated()
	made, err := raw.ImageGetOrCreate(w.ctx, pb.ImageGetOrCreateRequest_builder{
		AppId: app.AppID, BuilderVersion: "2025.06",
		Image: pb.Image_builder{DockerfileCommands: []string{"FROM " + base, "RUN exit 4"}}.Build(),
	}.Build())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(made.HasResult()).To(BeFalse(), "it is being built")
	join := func(timeout float32) []*pb.ImageJoinStreamingResponse {
		stream, err := w.streaming().ImageJoinStreaming(w.ctx, pb.ImageJoinStreamingRequest_builder{
			ImageId: made.GetImageId(), Timeout: timeout, IncludeLogsForFinished: true,
		}.Build())
		w.Expect(err).NotTo(HaveOccurred())
		var all []*pb.ImageJoinStreamingResponse
		for {
			item, err := stream.Recv()
			if err != nil {
				return all
			}
			all = append(all, item)
		}
	}
	w.Expect(join(0)[0].GetTaskLogs()[0].GetData()).To(ContainSubstring("Building image"))
	fake.Step(time.Minute)
	all := join(55)
	last := all[len(all)-1]
	w.Expect(last.GetEof()).To(BeTrue())
	w.Expect(last.GetResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_FAILURE))
	w.Expect(last.GetResult().GetException()).To(HaveSuffix("failed. See build logs for more details."))
	w.Expect(w.server.Images()[0].Log).To(And(ContainSubstring("=> Step 1: RUN exit 4"), ContainSubstring("non-zero code: 4")))
}

func TestFailedBuildsTellWhyAndAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	_, err := w.build(app, base, "RUN echo hi && exit 3")
	var remote sdk.RemoteError
	w.Expect(errors.As(err, &remote)).To(BeTrue(), "got %v", err)
	w.Expect(remote.Exception).To(HaveSuffix("failed. See build logs for more details."))
	w.Expect(w.server.Images()[1].Log).To(ContainSubstring("non-zero code: 3"))
	_, err = w.build(app, "ghcr.io/nobody/none:1")
	w.Expect(err).To(MatchError(ContainSubstring("manifest unknown")))
	w.server.AddRegistryImage("ghcr.io/nobody/none:1")
	_, err = w.build(app, "ghcr.io/nobody/none:1")
	w.Expect(err).NotTo(HaveOccurred())

	w.server.FailBuilds("curl", "Could not resolve host: github.com")
	_, err = w.build(app, base, "RUN curl -fsSL https://github.com/x")
	w.Expect(err).To(MatchError(ContainSubstring("See build logs")))
	all := w.server.Images()
	w.Expect(all[len(all)-1].Log).To(ContainSubstring("Could not resolve host"))
	w.server.MendBuilds()
	_, err = w.build(app, base, "RUN curl -fsSL https://github.com/x")
	w.Expect(err).NotTo(HaveOccurred())
}

func TestPrivateImagesNeedTheirSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	const private = "registry.example.com/team/runner:1"
	w.server.AddPrivateImage(private, "robot", "pw")
	w.server.AddSecret("right", map[string]string{"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "pw"})
	w.server.AddSecret("wrong", map[string]string{"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "no"})
	w.server.AddSecret("other", map[string]string{"USERNAME": "robot"})
	build := func(secret string) error {
		params := &sdk.ImageFromRegistryParams{}
		if secret != "" {
			params.Secret = must(w.client.Secrets.FromName(w.ctx, secret, nil))
		}
		_, err := w.client.Images.FromRegistry(private, params).Build(w.ctx, app)
		return err
	}
	w.Expect(build("")).To(MatchError(ContainSubstring("authentication required")))
	w.Expect(build("wrong")).To(MatchError(ContainSubstring("authentication required")))
	w.Expect(build("other")).To(MatchError(ContainSubstring("missing the key REGISTRY_USERNAME")))
	w.Expect(build("right")).To(Succeed())
	w.Expect(build("")).To(MatchError(ContainSubstring("authentication required")), "that it was built shows it to nobody else")
	builds := len(w.server.Images())
	w.server.AddSecret("renamed", map[string]string{"REGISTRY_USERNAME": "robot", "REGISTRY_PASSWORD": "pw"})
	w.Expect(build("renamed")).To(Succeed())
	w.Expect(w.server.Images()).To(HaveLen(builds), "the same credentials, the same image")
}

func TestPrivateImagesOfCloudsNeedTheirKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	w.server.AddPrivateImage("1.dkr.ecr.us-east-1.amazonaws.com/runner:1", "AKIA1", "key")
	w.server.AddPrivateImage("us-east1-docker.pkg.dev/p/r/runner:1", "_json_key", `{"type":"service_account"}`)
	secret := func(values map[string]string) *sdk.Secret { return must(w.client.Secrets.FromMap(w.ctx, values, nil)) }
	ecr := func(values map[string]string) error {
		_, err := w.client.Images.FromAwsEcr("1.dkr.ecr.us-east-1.amazonaws.com/runner:1", secret(values)).Build(w.ctx, app)
		return err
	}
	gcp := func(values map[string]string) error {
		_, err := w.client.Images.FromGcpArtifactRegistry("us-east1-docker.pkg.dev/p/r/runner:1", secret(values)).Build(w.ctx, app)
		return err
	}
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "key"}
	w.Expect(ecr(keys)).To(MatchError(ContainSubstring("missing the key AWS_REGION")))
	keys["AWS_REGION"] = "us-east-1"
	w.Expect(ecr(keys)).To(Succeed())
	keys["AWS_SECRET_ACCESS_KEY"] = "other"
	w.Expect(ecr(keys)).To(MatchError(ContainSubstring("authentication required")))
	w.Expect(gcp(keys)).To(MatchError(ContainSubstring("missing the key SERVICE_ACCOUNT_JSON")))
	w.Expect(gcp(map[string]string{"SERVICE_ACCOUNT_JSON": "{}"})).To(MatchError(ContainSubstring("authentication required")))
	w.Expect(gcp(map[string]string{"SERVICE_ACCOUNT_JSON": `{"type":"service_account"}`})).To(Succeed())
}

func TestImageDefinitionsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app, raw := w.app("ci"), w.authenticated()
	create := func(appID, version string, bases []*pb.BaseImage, commands ...string) (*pb.GenericResult, codes.Code) {
		answer, err := raw.ImageGetOrCreate(w.ctx, pb.ImageGetOrCreateRequest_builder{
			AppId: appID, BuilderVersion: version, Image: pb.Image_builder{DockerfileCommands: commands, BaseImages: bases}.Build(),
		}.Build())
		return answer.GetResult(), status.Code(err)
	}
	refused := func(want codes.Code, appID, version string, bases []*pb.BaseImage, commands ...string) {
		t.Helper()
		_, code := create(appID, version, bases, commands...)
		w.Expect(code).To(Equal(want))
	}
	refused(codes.NotFound, "ap-none", "2025.06", nil, "FROM "+base)
	refused(codes.InvalidArgument, app.AppID, "2026.99", nil, "FROM "+base)
	refused(codes.InvalidArgument, app.AppID, "", nil, "FROM "+base)
	refused(codes.InvalidArgument, app.AppID, "2025.06", nil)
	refused(codes.InvalidArgument, app.AppID, "2025.06", nil, "RUN true")
	refused(codes.InvalidArgument, app.AppID, "2025.06", nil, "FROM "+base, "RNU true")
	refused(codes.NotFound, app.AppID, "2025.06",
		[]*pb.BaseImage{pb.BaseImage_builder{ImageId: "im-none", DockerTag: "base"}.Build()}, "FROM base")
	result, code := create(app.AppID, "2025.06", nil, "FROM "+base, "COPY a b")
	w.Expect(code).To(Equal(codes.OK))
	w.Expect(result).To(BeNil(), "whoever has an image built waits for it")
	built := w.server.Images()
	w.Expect(built[len(built)-1].Status).To(Equal(pb.GenericResult_GENERIC_STATUS_FAILURE))
	_, code = create(app.AppID, "PREVIEW", nil, "FROM "+base, "USER runner", "# a comment", "RUN a \\", "  b")
	w.Expect(code).To(Equal(codes.OK))
}

func TestImagesAndTagsRemovedFromOutsideAreMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	w.server.AddRegistryImage("example.com/x:1", "/srv/run.sh")
	image := must(w.client.Images.FromRegistry("example.com/x:1", nil).Build(w.ctx, app))
	start := func() error {
		_, err := w.client.Sandboxes.Create(w.ctx, app, image, &sdk.SandboxCreateParams{Command: []string{"/srv/run.sh"}})
		return err
	}
	w.Expect(start()).To(Succeed())
	w.server.RemoveRegistryImage("example.com/x:1")
	w.Expect(start()).To(Succeed(), "it is built")
	w.Expect(w.server.DeleteImage(image.ImageID)).To(Succeed())
	w.Expect(w.server.DeleteImage(image.ImageID)).NotTo(Succeed())
	w.Expect(status.Code(start())).To(Equal(codes.NotFound))
	_, err := w.build(app, "example.com/x:1")
	w.Expect(err).To(MatchError(ContainSubstring("manifest unknown")))
}
