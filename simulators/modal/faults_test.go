package modal_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestRetryOfADroppedAnswerDoesNotDouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	fault := w.server.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Times: 2, DropAnswer: true})
	sb := w.mustCreate(app, named("once"))
	w.Expect(fault.Hits()).To(Equal(2))
	w.Expect(w.server.Sandboxes()).To(HaveLen(1))
	w.Expect(w.server.Sandboxes()[0].ID).To(Equal(sb.SandboxID))
	w.Expect(w.server.Calls()["SandboxCreate"]).To(Equal(map[string]int{"Unavailable": 2, "OK": 1}))
}

func TestNewCallAfterALostAnswerMeetsWhatTheFirstDid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	w.mustCreate(app)
	w.server.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Times: 1, DropAnswer: true, Hang: true})
	ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	_, err := w.client.Sandboxes.Create(ctx, app, w.image(), &sdk.SandboxCreateParams{Name: "lost", Command: []string{"sh"}})
	w.Expect(status.Code(err)).To(Equal(codes.DeadlineExceeded))
	found, err := w.client.Sandboxes.FromName(w.ctx, "ci", "lost", nil)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = w.create(app, named("lost"))
	w.Expect(err).To(BeAssignableToTypeOf(sdk.AlreadyExistsError{}))
	w.Expect(w.server.Alive(nil)).To(ContainElement(HaveField("ID", found.SandboxID)))
}

func TestIdempotencyKeyIsForOneRequestOfOneMethod(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	raw := w.authenticated()
	ctx := metadata.AppendToOutgoingContext(w.ctx, "x-idempotency-key", "k")
	secret := func(value string) (string, codes.Code) {
		answer, err := raw.SecretGetOrCreate(ctx, pb.SecretGetOrCreateRequest_builder{
			ObjectCreationType: pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL, EnvDict: map[string]string{"A": value},
		}.Build())
		return answer.GetSecretId(), status.Code(err)
	}
	first, code := secret("1")
	w.Expect(code).To(Equal(codes.OK))
	again, _ := secret("1")
	w.Expect(again).To(Equal(first))
	_, code = secret("2")
	w.Expect(code).To(Equal(codes.InvalidArgument))
	fake.Step(11 * time.Minute)
	later, _ := secret("1")
	w.Expect(later).NotTo(Equal(first), "the window is over")
}

func TestCodeFaultsDoNotDoTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	w.mustCreate(app)
	fault := w.server.Faults().Add(modalsim.Fault{
		Method: "SandboxCreate", Code: codes.ResourceExhausted, Message: "spend limit reached",
		Match: func(req proto.Message) bool {
			return req.(*pb.SandboxCreateRequest).GetDefinition().GetName() == "chosen"
		},
	})
	_, err := w.create(app, named("chosen"))
	w.Expect(err).To(MatchError(ContainSubstring("spend limit reached")))
	w.Expect(fault.Hits()).To(Equal(1), "this code is not tried again")
	w.mustCreate(app, named("other"))
	fault.Remove()
	w.mustCreate(app, named("chosen"))
	w.Expect(w.server.Sandboxes()).To(HaveLen(3))
}

func TestUnavailableIsTriedFourTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	fault := w.server.Faults().Add(modalsim.Fault{Method: "SandboxList", Code: codes.Unavailable})
	all, err := w.client.Sandboxes.List(w.ctx, nil)
	w.Expect(err).NotTo(HaveOccurred())
	for _, err := range all {
		w.Expect(status.Code(err)).To(Equal(codes.Unavailable))
	}
	w.Expect(fault.Hits()).To(Equal(4))
	w.server.Faults().Clear()
	w.Expect(w.list(nil)).To(BeEmpty())
}

func TestHangEndsWithTheCallersDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	w.app("ci")
	w.server.Faults().Add(modalsim.Fault{Method: "AppGetOrCreate", Hang: true})
	ctx, cancel := context.WithTimeout(w.ctx, 50*time.Millisecond)
	defer cancel()
	_, err := w.client.Apps.FromName(ctx, "ci", nil)
	w.Expect(status.Code(err)).To(Equal(codes.DeadlineExceeded))
}

func TestDelaysAndLatencyPassOnTheClock(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, Latency: map[string]time.Duration{"AppGetOrCreate": time.Second}})
	w.server.Faults().Add(modalsim.Fault{Method: "AppGetOrCreate", Delay: time.Minute})
	done := make(chan error, 1)
	go func() {
		_, err := w.client.Apps.FromName(w.ctx, "ci", &sdk.AppFromNameParams{CreateIfMissing: true})
		done <- err
	}()
	w.Consistently(done, 50*time.Millisecond).ShouldNot(Receive())
	start := fake.Now()
	w.Eventually(func() <-chan error { fake.Step(time.Second); return done }).Should(Receive(BeNil()))
	w.Expect(fake.Since(start)).To(BeNumerically(">=", 61*time.Second))
}

func TestProbabilityIsDeterministicUnderASeed(t *testing.T) {
	t.Parallel()
	sequence := func(seed int64) string {
		w := newWorld(t, modalsim.Options{Seed: seed})
		w.server.Faults().Add(modalsim.Fault{Method: "ProxyGet", Probability: 0.5, Code: codes.Aborted})
		text := ""
		for range 40 {
			_, err := w.client.Proxies.FromName(w.ctx, "p", nil)
			text += fmt.Sprint(status.Code(err) == codes.Aborted)[:1]
		}
		return text
	}
	w := NewWithT(t)
	w.Expect(sequence(1)).To(Equal(sequence(1)))
	w.Expect(sequence(1)).NotTo(Equal(sequence(2)))
	w.Expect(sequence(1)).To(And(ContainSubstring("t"), ContainSubstring("f")))
}

func TestIDsAreDeterministicUnderASeed(t *testing.T) {
	t.Parallel()
	create := func(seed int64) string {
		w := newWorld(t, modalsim.Options{Seed: seed})
		return w.mustCreate(w.app("ci")).SandboxID
	}
	w := NewWithT(t)
	w.Expect(create(3)).To(Equal(create(3)))
	w.Expect(create(3)).NotTo(Equal(create(4)))
}

func TestStuckSandboxNeverStartsAndTimesOut(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, Run: exitWith(0)})
	w.server.Faults().AddSandbox(modalsim.SandboxFault{Stuck: true})
	app := w.app("ci")
	stuck, fine := w.mustCreate(app), w.mustCreate(app)
	w.Expect(fine.Wait(w.ctx)).To(Equal(0))
	fake.Step(59 * time.Minute)
	w.Expect(stuck.Poll(w.ctx)).To(BeNil())
	seen, _ := w.server.Sandbox(stuck.SandboxID)
	w.Expect(seen.State).To(Equal(modalsim.StateCreated))
	fake.Step(time.Minute)
	w.Expect(*must(stuck.Poll(w.ctx))).To(Equal(124))
}

func TestSandboxFaultsEndSandboxes(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	w.server.Faults().AddSandbox(modalsim.SandboxFault{
		Match: func(sb modalsim.Sandbox) bool { return sb.Name == "init" }, InitFailure: "no capacity for the image",
	})
	w.server.Faults().AddSandbox(modalsim.SandboxFault{
		Match: func(sb modalsim.Sandbox) bool { return sb.Name == "later" }, Times: -1,
		Status: pb.GenericResult_GENERIC_STATUS_INTERNAL_FAILURE, Exception: "worker lost", After: 30 * time.Second,
	})
	app := w.app("ci")
	init, later, fine := w.mustCreate(app, named("init")), w.mustCreate(app, named("later")), w.mustCreate(app, named("fine"))
	w.Expect(init.Poll(w.ctx)).NotTo(BeNil())
	w.Expect(w.lastResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_INIT_FAILURE))
	w.Expect(later.Poll(w.ctx)).To(BeNil())
	fake.Step(30 * time.Second)
	w.Expect(later.Poll(w.ctx)).NotTo(BeNil())
	w.Expect(w.lastResult().GetException()).To(Equal("worker lost"))
	w.Expect(fine.Poll(w.ctx)).To(BeNil())
	w.Expect(w.server.Logs(fine.SandboxID)).To(BeEmpty())
}
