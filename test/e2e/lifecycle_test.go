package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	modal "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/installation"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

func TestB27_ADeathAtWorkIsShownAndItsSlotIsFreeAtOnce(t *testing.T) {
	w := newWorld(t, givingUpAfter(20*time.Second))
	w.awaitReady(w.pool("p", 1))
	first := w.queue("first", "sleep 600")
	w.awaitRunning(first)
	w.awaitPhases(v1alpha1.RunnerRunning)
	w.Expect(w.modal.FinishOutOfMemory(w.modal.Alive(nil)[0].ID)).To(BeTrue())
	second := w.queue("second")
	// GitHub takes its time to give up the first job; the second does not wait for that.
	w.awaitAll([]int64{second}, "success")
	w.Expect(w.conclusion(first)()).To(BeEmpty())
	w.Expect(w.events()).To(ContainElement(v1alpha1.ReasonOutOfMemory))
	w.Eventually(func() string {
		out, _ := kubectl(t, "", "-n", w.namespace, "get", "wfj", "-o", `jsonpath={.items[?(@.spec.name=="first")].status.problem}`)
		return out
	}).Should(And(ContainSubstring("OutOfMemory"), ContainSubstring("sandbox.memory")))
	w.awaitAll([]int64{first}, "failure")
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(Equal(1))
	w.Expect(w.metric(`modalrunner_runners_died_total{pool="p",pool_namespace="` + w.namespace + `",reason="OutOfMemory"}`)).To(Equal("1"))
}

// metric of the manager, as it is written.
func (w *world) metric(name string) string {
	w.t.Helper()
	resp, err := http.Get("http://" + w.manager.MetricsAddress() + "/metrics")
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return value
		}
	}
	return ""
}

func TestB28_APoolWhoseRunnersFailToStartProbesSlowlyAndHealsByItself(t *testing.T) {
	var mended atomic.Bool
	w := newWorld(t, withBehaviour(func(modalsim.Container) runner.Behaviour {
		if !mended.Load() {
			return runner.Crash
		}
		return ""
	}))
	pool := w.pool("p", 8)
	w.awaitReady(pool)
	var ids []int64
	for i := range 8 {
		ids = append(ids, w.queue(fmt.Sprint("build-", i)))
	}
	w.Eventually(func() metav1.ConditionStatus { return w.condition(pool, v1alpha1.ConditionDegraded).Status }).Should(Equal(metav1.ConditionTrue))
	w.Expect(w.condition(pool, v1alpha1.ConditionReady).Reason).To(Equal(v1alpha1.ReasonAttemptsFailed))
	w.Expect(w.condition(pool, v1alpha1.ConditionDegraded).Message).To(ContainSubstring("exit code 1"))
	tried := len(w.modal.Sandboxes())
	// Each of the eight may have begun one attempt or two; then nobody tries but the probe, in a minute.
	w.Consistently(func() int { return len(w.modal.Sandboxes()) }, 25*time.Second, time.Second).Should(BeNumerically("<=", tried+8))
	settled := len(w.modal.Sandboxes())
	w.Consistently(func() int { return len(w.modal.Sandboxes()) }, 15*time.Second, time.Second).Should(Equal(settled))
	mended.Store(true)
	w.Eventually(func() metav1.ConditionStatus { return w.condition(pool, v1alpha1.ConditionDegraded).Status }, 3*time.Minute).Should(Equal(metav1.ConditionFalse))
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	w.Expect(w.events()).To(ContainElements(v1alpha1.EventDegraded, v1alpha1.EventRecovered))
}

func TestB30_WarmRunnersAreKeptAndRefilled(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 3, minIdle(2), idleTimeout(time.Second))
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerIdle)
	id := w.queue("build", "sleep 3")
	w.awaitRunning(id)
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerIdle, v1alpha1.RunnerRunning)
	w.Expect(w.modal.Peak("")).To(Equal(3))
	w.awaitAll([]int64{id}, "success")
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerIdle)
	w.patch(pool, `{"spec":{"minIdle":0}}`)
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(Equal(3))
}

func TestAChangedTemplateReplacesIdleRunnersAndLetsBusyOnesFinish(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2, minIdle(1), idleTimeout(time.Second))
	id := w.queue("build", "sleep 6")
	w.awaitRunning(id)
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerRunning)
	w.patch(pool, `{"spec":{"sandbox":{"memory":"2Gi"}}}`)
	w.Eventually(func() int {
		count := 0
		for _, s := range w.modal.Alive(nil) {
			if s.Request.GetDefinition().GetResources().GetMemoryMb() == 2048 {
				count++
			}
		}
		return count
	}).Should(Equal(1))
	w.Expect(w.conclusion(id)()).To(BeEmpty(), "the busy one was to finish")
	w.awaitAll([]int64{id}, "success")
	w.patch(pool, `{"spec":{"minIdle":0}}`)
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 2))
}

func TestB40_ForcedDeletionOfAPoolEndsWhatRuns(t *testing.T) {
	w := newWorld(t, givingUpAfter(5*time.Second))
	pool := w.pool("p", 1)
	w.awaitReady(pool)
	id := w.queue("build", "sleep 600")
	w.awaitRunning(id)
	w.Expect(plane.Client.Delete(w.ctx, pool)).To(Succeed())
	w.awaitPhases(v1alpha1.RunnerTerminating)
	w.Consistently(func() int { return len(w.modal.Alive(nil)) }, 3*time.Second).Should(Equal(1), "it drains")
	out, err := kubectl(t, "", "-n", w.namespace, "annotate", "rp/p", v1alpha1.ForceDelete+"=true")
	w.Expect(err).NotTo(HaveOccurred(), out)
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(BeZero())
	w.awaitNothingLeft()
	w.Eventually(func() bool {
		return apierrors.IsNotFound(plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), pool))
	}).Should(BeTrue())
}

// Deleting a namespace deletes its Secrets at once: what was begun with them is ended all the same.
func TestDeletingANamespaceLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.pool("p", 3, minIdle(2))
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerIdle)
	id := w.queue("build", "sleep 4")
	w.awaitRunning(id)
	w.Expect(plane.Client.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
	w.Eventually(func() bool {
		return apierrors.IsNotFound(plane.Client.Get(w.ctx, types.NamespacedName{Name: w.namespace}, &corev1.Namespace{}))
	}).Should(BeTrue())
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

// mark of the manager's installation.
func (w *world) mark() string {
	w.t.Helper()
	var kept corev1.ConfigMap
	w.Expect(plane.Client.Get(w.ctx, types.NamespacedName{Namespace: w.namespace, Name: installation.Name}, &kept)).To(Succeed())
	return kept.Data["id"][:8]
}

// account at Modal, as any program with the credentials has it. The SDK takes the server from the environment alone, which
// the tests of a process share.
func (w *world) account() *modal.Client {
	w.t.Helper()
	environment.Lock()
	defer environment.Unlock()
	for name, value := range map[string]string{
		"MODAL_SERVER_URL": w.modal.URL(), "MODAL_CONFIG_PATH": os.DevNull, "MODAL_IMAGE_BUILDER_VERSION": "2025.06",
	} {
		w.Expect(os.Setenv(name, value)).To(Succeed())
	}
	account, err := modal.NewClientWithOptions(&modal.ClientParams{TokenID: modalID, TokenSecret: modalSecret})
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(account.Close)
	return account
}

var environment sync.Mutex

// makeSandbox in the pool's app, as any program with the account's credentials can.
func (w *world) makeSandbox(name string) string {
	w.t.Helper()
	account := w.account()
	app, err := account.Apps.FromName(w.ctx, "modal-runner-controller", &modal.AppFromNameParams{CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	image, err := account.Images.FromRegistry("ubuntu:24.04", nil).Build(w.ctx, app)
	w.Expect(err).NotTo(HaveOccurred())
	made, err := account.Sandboxes.Create(w.ctx, app, image, &modal.SandboxCreateParams{Name: name, Command: []string{"/bin/sh"}, Timeout: time.Hour})
	w.Expect(err).NotTo(HaveOccurred())
	return made.SandboxID
}

// withoutFinalizers removes the Runners by force, so that nothing ends what they have outside.
func (w *world) withoutFinalizers() {
	w.t.Helper()
	for _, r := range w.runners() {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		w.Expect(client.IgnoreNotFound(plane.Client.Patch(w.ctx, &r, patch))).To(Succeed())
		w.Expect(client.IgnoreNotFound(plane.Client.Delete(w.ctx, &r))).To(Succeed())
	}
}

func (w *world) outsideNames() []string {
	var names []string
	for _, s := range w.modal.Alive(nil) {
		names = append(names, "sandbox "+s.Name)
	}
	for _, r := range w.github.Runners() {
		names = append(names, "registration "+r.Name)
	}
	return names
}

func TestB43_WhatNoRunnerOwnsIsRemovedAndWhatOthersMadeIsNot(t *testing.T) {
	w := newWorld(t, withArguments("--sweep-interval=1s", "--orphan-grace=2s"),
		withBehaviour(func(c modalsim.Container) runner.Behaviour {
			if c.Env[runner.JITVariable] == "" {
				return runner.Hang
			}
			return ""
		}))
	w.awaitReady(w.pool("p", 3))
	foreign := []string{"somebody", "p-0-ffffffff-0123456789ab-1", "p-0-" + w.mark() + "-notours"}
	ours := "x-0-" + w.mark() + "-0123456789ab-7"
	for _, name := range append(foreign, ours) {
		w.github.AddForeignRunner(the.place(), name, "other")
		w.makeSandbox(name)
	}
	left := []string{}
	for _, name := range foreign {
		left = append(left, "sandbox "+name, "registration "+name)
	}
	w.Eventually(w.outsideNames).Should(ConsistOf(left))
	w.Expect(w.events()).To(ContainElement(v1alpha1.EventOrphanRemoved))
	w.Expect(w.metric(`modalrunner_orphans_removed_total{kind="sandbox"}`)).To(Equal("1"))
	// A Runner that is alive is nobody's orphan, however long it takes.
	id := w.queue("build", "sleep 6")
	w.awaitAll([]int64{id}, "success")
	w.Eventually(w.outsideNames).Should(ConsistOf(left))
	w.Expect(w.metric(`modalrunner_orphans_removed_total{kind="sandbox"}`)).To(Equal("1"))
}

// The mark outlives the controller, so that a new one finds what the old one left; a busy runner ends by itself.
func TestB43_AReinstalledControllerFindsWhatTheOldOneLeft(t *testing.T) {
	w := newWorld(t, withArguments("--sweep-interval=1s", "--orphan-grace=2s"))
	pool := w.pool("p", 3, minIdle(1))
	id := w.queue("build", "sleep 8")
	w.awaitRunning(id)
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerRunning)
	w.manager.Kill()
	w.patch(pool, `{"spec":{"minIdle":0},"metadata":{"finalizers":null}}`)
	w.withoutFinalizers()
	w.Expect(w.modal.Alive(nil)).To(HaveLen(2))
	w.startManager()
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(Equal(1), "the idle one")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}

func TestB52_CallsThatHangWithOneCredentialHoldUpNoOtherPool(t *testing.T) {
	w := newWorld(t, withArguments("--runner-workers=8"))
	w.createSecret("modal2", map[string]string{"token_id": modalID, "token_secret": modalSecret})
	hanging := w.pool("hanging", 20)
	w.awaitReady(hanging)
	other := w.pool("other", 1, labels("other"), func(s *v1alpha1.RunnerPoolSpec) { s.Modal.SecretName = "modal2" })
	w.awaitReady(other)
	hang := w.modal.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Hang: true, Match: func(m proto.Message) bool {
		return strings.HasPrefix(m.(*pb.SandboxCreateRequest).GetDefinition().GetName(), "hanging-")
	}})
	for i := range 20 {
		w.queue(fmt.Sprint("stuck-", i))
	}
	w.Eventually(hang.Hits).Should(BeNumerically(">=", 2))
	id := w.github.AddQueuedJob(repository, "build", []string{"other"})
	w.Eventually(w.conclusion(id), 30*time.Second).Should(Equal("success"))
	w.Expect(hang.Hits()).To(Equal(2), "more calls hang than one credential's share of the workers")
	w.modal.Faults().Clear()
}

// I8: an outage of both sides kills nobody and heals by itself.
func TestI8_AnOutageEndsNothing(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 2, startupTimeout(time.Second))
	w.awaitReady(pool)
	id := w.queue("build", "sleep 12")
	w.awaitRunning(id)
	w.awaitPhases(v1alpha1.RunnerRunning)
	modalDown := w.modal.Faults().Add(modalsim.Fault{Code: codes.Unavailable})
	w.github.Inject(githubsim.Fault{Status: http.StatusServiceUnavailable})
	waiting := w.queue("waiting")
	w.Consistently(func() int { return len(w.modal.Alive(nil)) }, 8*time.Second).Should(Equal(1))
	w.github.ClearFaults()
	modalDown.Remove()
	w.awaitAll([]int64{id, waiting}, "success")
	w.awaitNothingLeft()
}

func TestB72_ASuspendedPoolFinishesWhatRunsAndShowsItsQueue(t *testing.T) {
	w := newWorld(t)
	pool := w.pool("p", 3, minIdle(1))
	running := w.queue("running", "sleep 4")
	w.awaitRunning(running)
	w.awaitPhases(v1alpha1.RunnerIdle, v1alpha1.RunnerRunning)
	w.patch(pool, `{"spec":{"suspend":true}}`)
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonSuspended))
	w.awaitPhases(v1alpha1.RunnerRunning)
	made := len(w.modal.Sandboxes())
	queued := w.queue("queued")
	w.awaitAll([]int64{running}, "success")
	w.awaitNothingLeft()
	w.Eventually(func() int32 {
		var now v1alpha1.RunnerPool
		w.Expect(plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), &now)).To(Succeed())
		return now.Status.Queued
	}).Should(Equal(int32(1)))
	w.Expect(w.modal.Sandboxes()).To(HaveLen(made))
	w.patch(pool, `{"spec":{"suspend":false,"minIdle":0}}`)
	w.awaitAll([]int64{queued}, "success")
	w.awaitNothingLeft()
}

// I1 is a property of names at the API server: two managers that both believe to lead cannot make more than the limit.
func TestI1_TwoLeadersAtOnceStayWithinTheLimit(t *testing.T) {
	w := newWorld(t)
	w.another(plane.ManagerKubeconfig)
	w.awaitReady(w.pool("p", 3))
	var ids []int64
	for i := range 15 {
		ids = append(ids, w.queue(fmt.Sprint("build-", i), "sleep 0.5"))
	}
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(Equal(3))
}
