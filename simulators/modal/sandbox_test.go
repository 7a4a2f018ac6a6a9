package modal_test

import (
	"context"
	"errors"
	"fmt"
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

func exitWith(code int) modalsim.RunFunc {
	return func(context.Context, modalsim.Container) int { return code }
}

func TestNameIsUniqueAmongRunningSandboxesOfOneApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	first := w.mustCreate(app, named("runner-1"))
	_, err := w.create(app, named("runner-1"))
	var exists sdk.AlreadyExistsError
	w.Expect(errors.As(err, &exists)).To(BeTrue(), "got %v", err)
	w.Expect(exists.Exception).To(ContainSubstring("already exists"))
	w.mustCreate(w.app("other"), named("runner-1"))

	_, err = first.Terminate(w.ctx, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.mustCreate(app, named("runner-1"))
	w.Expect(w.server.Peak("ci")).To(Equal(1))
	w.Expect(w.server.Calls()["SandboxCreate"]).To(Equal(map[string]int{"OK": 3, "AlreadyExists": 1}))
}

func TestPollIsNilUntilTheCommandEnds(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	w := newWorld(t, modalsim.Options{Run: func(context.Context, modalsim.Container) int { <-end; return 3 }})
	sb := w.mustCreate(w.app("ci"))
	w.Expect(sb.Poll(w.ctx)).To(BeNil())
	close(end)
	w.Expect(sb.Wait(w.ctx)).To(Equal(3))
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_FAILURE))
	seen, _ := w.server.Sandbox(sb.SandboxID)
	w.Expect(seen.Alive()).To(BeFalse())
	w.Expect(seen.ExitCode).To(BeEquivalentTo(3))
	w.Expect(seen.Started).NotTo(BeZero())
	w.Expect(seen.Finished).NotTo(BeZero())
}

func TestWithoutACommandASandboxStays(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, Run: exitWith(3), Exec: exitWith(4)})
	sb := w.mustCreate(w.app("ci"), command())
	w.Expect(sb.Poll(w.ctx)).To(BeNil())
	run, err := sb.Exec(w.ctx, []string{"true"}, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(run.Wait(w.ctx)).To(Equal(4))
	fake.Step(time.Hour)
	w.Expect(*must(sb.Poll(w.ctx))).To(Equal(124))
}

func TestTerminateAnswersWhenTheProcessIsGone(t *testing.T) {
	t.Parallel()
	die := make(chan struct{})
	w := newWorld(t, modalsim.Options{Run: func(ctx context.Context, _ modalsim.Container) int {
		<-ctx.Done()
		<-die
		return 0
	}})
	sb := w.mustCreate(w.app("ci"))
	answered := make(chan error, 1)
	go func() {
		_, err := sb.Terminate(w.ctx, nil)
		answered <- err
	}()
	w.Consistently(answered, 50*time.Millisecond).ShouldNot(Receive())
	close(die)
	w.Eventually(answered).Should(Receive(BeNil()))
}

func TestTerminateIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	sb := w.mustCreate(w.app("ci"), named("a"))
	again, err := w.client.Sandboxes.FromID(w.ctx, sb.SandboxID)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = sb.Terminate(w.ctx, nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(*must(again.Poll(w.ctx))).To(Equal(137))
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_TERMINATED))

	answer, err := w.authenticated().SandboxTerminate(w.ctx, pb.SandboxTerminateRequest_builder{SandboxId: sb.SandboxID}.Build())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(answer.GetExistingResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_TERMINATED))
	_, err = w.authenticated().SandboxTerminate(w.ctx, pb.SandboxTerminateRequest_builder{SandboxId: "sb-none"}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
	_, err = w.client.Sandboxes.FromName(w.ctx, "ci", "a", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestTimeoutCountsFromCreation(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, ScheduleDelay: 4 * time.Minute})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.Timeout = 0 })
	fake.Step(4*time.Minute + 59*time.Second)
	w.Expect(sb.Poll(w.ctx)).To(BeNil())
	seen, _ := w.server.Sandbox(sb.SandboxID)
	w.Expect(seen.State).To(Equal(modalsim.StateRunning))
	fake.Step(time.Second)
	w.Expect(*must(sb.Poll(w.ctx))).To(Equal(124), "300 s is the default")
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_TIMEOUT))
}

func TestIdleTimeoutEndsASandboxWhoseCommandWorks(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.IdleTimeout = time.Minute })
	fake.Step(time.Minute)
	w.Expect(*must(sb.Poll(w.ctx))).To(Equal(0), "the exit code alone looks like a success")
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT))
}

func TestWaitEndsWithTheWindowOrTheResult(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	sb := w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) { p.Timeout = 15 * time.Second })
	codes := make(chan int)
	go func() {
		code, _ := sb.Wait(w.ctx)
		codes <- code
	}()
	w.Eventually(fake.HasWaiters).Should(BeTrue())
	w.Eventually(func() int {
		fake.Step(time.Second)
		select {
		case code := <-codes:
			return code
		default:
			return -1
		}
	}).Should(Equal(124))
	w.Expect(w.server.CallCount("SandboxWait")).To(BeNumerically(">=", 1))
}

func TestEnvironmentIsMergedInTheOrderOfTheSecrets(t *testing.T) {
	t.Parallel()
	seen := make(chan modalsim.Container, 1)
	w := newWorld(t, modalsim.Options{Run: func(_ context.Context, c modalsim.Container) int { seen <- c; return 0 }})
	w.server.AddSecret("shared", map[string]string{"A": "secret", "B": "secret"})
	shared, err := w.client.Secrets.FromName(w.ctx, "shared", &sdk.SecretFromNameParams{RequiredKeys: []string{"A"}})
	w.Expect(err).NotTo(HaveOccurred())
	image := w.image().DockerfileCommands([]string{`ENV B=image C="from image" PATH=/opt/x/bin:/bin`, "WORKDIR /work"}, nil)
	sb, err := w.client.Sandboxes.Create(w.ctx, w.app("ci"), image, &sdk.SandboxCreateParams{
		Command: []string{"sh"}, Secrets: []*sdk.Secret{shared}, Env: map[string]string{"A": "env"},
	})
	w.Expect(err).NotTo(HaveOccurred())
	var c modalsim.Container
	w.Eventually(seen).Should(Receive(&c))
	w.Expect(c.Env).To(And(HaveKeyWithValue("A", "env"), HaveKeyWithValue("B", "secret"), HaveKeyWithValue("C", "from image"),
		HaveKeyWithValue("MODAL_SANDBOX_ID", sb.SandboxID)))
	w.Expect(c.Workdir).To(Equal("/work"))
	view, _ := w.server.Sandbox(sb.SandboxID)
	w.Expect(view.Env).To(Equal(map[string]string{"A": "env", "B": "secret"}))
	_, err = w.client.Secrets.FromName(w.ctx, "shared", &sdk.SecretFromNameParams{RequiredKeys: []string{"Z"}})
	w.Expect(err).To(MatchError(ContainSubstring("Secret is missing key(s): Z")))
	_, err = w.client.Secrets.FromName(w.ctx, "none", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
}

func TestMissingProgramIsAnInitFailureWithExitCodeZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: exitWith(0)})
	app := w.app("ci")
	for _, program := range []string{"nonesuch", "/opt/actions-runner/run.sh", "./run.sh"} {
		sb := w.mustCreate(app, command(program))
		w.Expect(*must(sb.Poll(w.ctx))).To(Equal(0))
		w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_INIT_FAILURE))
		w.Expect(w.lastResult().GetException()).To(ContainSubstring(program))
	}
	image := w.image().DockerfileCommands([]string{"RUN mkdir -p /opt/actions-runner && cd /opt/actions-runner && tar -xzf x.tgz"}, nil)
	sb, err := w.client.Sandboxes.Create(w.ctx, app, image, &sdk.SandboxCreateParams{Command: []string{"/opt/actions-runner/run.sh"}})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(sb.Wait(w.ctx)).To(Equal(0))
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_SUCCESS))
}

func TestFinishFromOutsideTellsTheRealStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	for _, end := range []pb.GenericResult_GenericStatus{
		pb.GenericResult_GENERIC_STATUS_INTERNAL_FAILURE, pb.GenericResult_GENERIC_STATUS_TERMINATED,
		pb.GenericResult_GENERIC_STATUS_INIT_FAILURE,
	} {
		sb := w.mustCreate(app)
		w.Expect(w.server.Finish(sb.SandboxID, end, 0, "why")).To(BeTrue())
		w.Expect(w.server.Finish(sb.SandboxID, end, 0, "why")).To(BeFalse())
		w.Expect(sb.Poll(w.ctx)).NotTo(BeNil())
		w.Expect(w.lastResult().GetStatus()).To(Equal(end))
		w.Expect(w.lastResult().GetException()).To(Equal("why"))
	}
	sb := w.mustCreate(app)
	w.Expect(w.server.FinishOutOfMemory(sb.SandboxID)).To(BeTrue())
	w.Expect(*must(sb.Poll(w.ctx))).To(Equal(137))
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_FAILURE))
}

func TestQuotaAndRateAreResourceExhausted(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, MaxSandboxes: 3, CreateRate: 2})
	app := w.app("ci")
	first := w.mustCreate(app)
	w.mustCreate(app)
	_, err := w.create(app)
	w.Expect(status.Code(err)).To(Equal(codes.ResourceExhausted), "the rate")
	fake.Step(time.Second)
	w.mustCreate(app)
	_, err = w.create(app)
	w.Expect(status.Code(err)).To(Equal(codes.ResourceExhausted), "the limit")
	w.Expect(first.Terminate(w.ctx, nil)).To(Equal(0))
	w.mustCreate(app)
	w.Expect(w.server.Peak("")).To(Equal(3))
}

func TestTerminationTakesItsTime(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, TerminateDelay: 2 * time.Second})
	app := w.app("ci")
	sb := w.mustCreate(app, named("slow"))
	id := sb.SandboxID
	w.Expect(sb.Terminate(w.ctx, nil)).To(Equal(0))
	w.Expect(w.server.Alive(nil)).To(HaveLen(1))
	_, err := w.create(app, named("slow"))
	w.Expect(errors.As(err, new(sdk.AlreadyExistsError))).To(BeTrue(), "the name is held while it dies")
	fake.Step(2 * time.Second)
	w.mustCreate(app, named("slow"))
	seen, _ := w.server.Sandbox(id)
	w.Expect(seen.Status).To(Equal(pb.GenericResult_GENERIC_STATUS_TERMINATED))
}

func TestStoppedAppEndsItsSandboxesAndItsID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	w.mustCreate(app)
	w.server.StopApp("", "ci")
	w.Expect(w.server.Alive(nil)).To(BeEmpty())
	_, err := w.create(app)
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
	w.Expect(w.app("ci").AppID).NotTo(Equal(app.AppID))
}

func TestAppsBelongToEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	_, err := w.client.Apps.FromName(w.ctx, "ci", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
	inMain := w.app("ci")
	_, err = w.client.Apps.FromName(w.ctx, "ci", &sdk.AppFromNameParams{Environment: "staging", CreateIfMissing: true})
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue(), "no such environment")
	w.server.AddEnvironment("staging")
	inStaging, err := w.client.Apps.FromName(w.ctx, "ci", &sdk.AppFromNameParams{Environment: "staging", CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(inStaging.AppID).NotTo(Equal(inMain.AppID))
	w.mustCreate(inStaging, named("x"))
	_, err = w.client.Sandboxes.FromName(w.ctx, "ci", "x", nil)
	w.Expect(err).To(HaveOccurred())
	_, err = w.client.Sandboxes.FromName(w.ctx, "ci", "x", &sdk.SandboxFromNameParams{Environment: "staging"})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.list(nil)).To(BeEmpty())
	w.Expect(w.list(&sdk.SandboxListParams{Environment: "staging"})).To(HaveLen(1))
}

func TestPeakIsExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Seed: 7})
	app := w.app("ci")
	alive, peak := []*sdk.Sandbox{}, 0
	for step := range 60 {
		if step%3 == 2 {
			w.Expect(alive[0].Terminate(w.ctx, nil)).To(Equal(0))
			alive = alive[1:]
			continue
		}
		alive = append(alive, w.mustCreate(app, named(fmt.Sprint("sb-", step))))
		peak = max(peak, len(alive))
	}
	w.Expect(w.server.Peak("ci")).To(Equal(peak))
	w.Expect(w.server.Peak("other")).To(BeZero())
	w.Expect(w.server.Alive(nil)).To(HaveLen(len(alive)))
	byParity := w.server.PeakBy(func(sb modalsim.Sandbox) string { return fmt.Sprint(sb.Name[len(sb.Name)-1]%2 == 0) })
	w.Expect(byParity["true"] + byParity["false"]).To(BeNumerically(">=", peak))
}
