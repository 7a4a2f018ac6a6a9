package runnerpool

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/cost"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/shard"
)

// inShard is another manager of the world's pool, of a shard of its own, whose lease is held.
func (w *world) inShard(name, selector string) *Reconciler {
	w.t.Helper()
	made, err := shard.New(name, selector)
	w.Expect(err).NotTo(HaveOccurred())
	r := &Reconciler{
		Client: w.cluster, Outside: w.Outside(w.cluster), Clock: w.Clock, Events: events.NewFakeRecorder(1000), Installation: "0123abcd",
		Secrets: credentials.NewStore(w.cluster, w.Clock, time.Second), Ledger: cost.NewLedger(cost.Published()),
		Shard: made, Holders: &shard.Holders{Live: w.cluster, Clock: w.Clock, Namespace: "system"},
	}
	r.prepare()
	w.Expect(w.cluster.Create(w.t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: made.Lease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("pod-of-" + name), LeaseDurationSeconds: ptr.To(int32(15))},
	})).To(Succeed())
	return r
}

// once has one manager reconcile the world's pool once, and gives when it looks again.
func (w *world) once(r *Reconciler) time.Duration {
	w.t.Helper()
	result, err := r.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key})
	w.Expect(err).NotTo(HaveOccurred())
	return result.RequeueAfter
}

func (w *world) current() *v1alpha1.RunnerPool {
	w.t.Helper()
	var pool v1alpha1.RunnerPool
	w.Expect(w.cluster.Get(w.t.Context(), w.key, &pool)).To(Succeed())
	return &pool
}

func (w *world) label(labels map[string]string) {
	w.t.Helper()
	pool := w.current()
	pool.Labels = labels
	w.Expect(w.cluster.Update(w.t.Context(), pool)).To(Succeed())
}

func TestAPoolChangesHandsWhenItsShardHasLetItGo(t *testing.T) {
	w := newWorld(t)
	a, b := w.inShard("a", "team=a"), w.inShard("b", "team=b")
	w.label(map[string]string{"team": "a"})
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(BeEmpty(), "it is not selected")
	w.once(a)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"))
	began := metav1.NewTime(w.Clock.Now().Add(-time.Hour))
	leave := a.Shard.Enter(w.key)
	a.Ledger.Ended(&v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.key.Namespace, Name: "p-0"},
		Spec:       v1alpha1.RunnerSpec{PoolName: w.key.Name, RunnerTemplate: w.current().Spec.RunnerTemplate},
		Status:     v1alpha1.RunnerStatus{SandboxID: "sb-1", LaunchedAt: &began},
	}, w.Clock.Now())

	w.label(map[string]string{"team": "b"})
	w.Expect(w.once(b)).To(Equal(takeWait))
	w.Expect(w.once(a)).To(Equal(leaveWait), "something is being done for one of its Runners")
	w.Expect(w.once(b)).To(Equal(takeWait))
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"))
	leave()
	w.once(a)
	w.Expect(w.current().Status.ServedBy).To(BeEmpty())
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnserved))
	w.Expect(w.current().Status.Usage.SandboxSeconds).To(BeEquivalentTo(3600), "what it has cost goes with it")
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-b"))
	w.Expect(w.reason(v1alpha1.ConditionReady)).NotTo(Equal(v1alpha1.ReasonUnserved))
	w.Expect(w.current().Status.Usage.SandboxSeconds).To(BeEquivalentTo(3600))
	w.once(a)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-b"))
}

func TestAPoolWhoseShardIsGoneIsTakenWhenItsLeaseHasRunOut(t *testing.T) {
	w := newWorld(t)
	a, b := w.inShard("a", "team=a"), w.inShard("b", "team=b")
	w.label(map[string]string{"team": "a"})
	w.once(a)
	w.label(map[string]string{"team": "b"})
	w.once(b)
	w.Clock.Step(15 * time.Second)
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"))
	w.Clock.Step(time.Second)
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-b"))
}

func TestOfTwoShardsThatSelectAPoolOneServesIt(t *testing.T) {
	w := newWorld(t)
	a, b := w.inShard("a", ""), w.inShard("b", "")
	for range 3 {
		w.once(a)
		w.once(b)
		w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"))
	}
}

func TestAPoolThatNoShardSelectsSaysSo(t *testing.T) {
	w := newWorld(t)
	a := w.inShard("a", "team=a")
	pool := w.current()
	pool.CreationTimestamp = metav1.NewTime(w.Clock.Now())
	w.Expect(w.cluster.Update(t.Context(), pool)).To(Succeed())
	w.Expect(w.once(a)).To(Equal(takenWithin), "its shard may only be starting")
	w.Clock.Step(takenWithin)
	w.once(a)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnserved))
	w.Expect(a.Events.(*events.FakeRecorder).Events).To(Receive(ContainSubstring("--pool-selector")))
	w.once(a)
	w.Expect(a.Events.(*events.FakeRecorder).Events).NotTo(Receive(), "once is enough")
	why, can := w.current().CanLaunch()
	w.Expect(can).To(BeFalse())
	w.Expect(why).To(ContainSubstring("nobody has taken it up"))
	w.Expect(w.current().Finalizers).To(BeEmpty(), "it can be deleted")
	w.label(map[string]string{"team": "a"})
	w.once(a)
	w.Expect(w.reason(v1alpha1.ConditionReady)).NotTo(Equal(v1alpha1.ReasonUnserved))
}

// The shard that a pool names may be no more in the chart's values, and no other select it.
func TestAPoolWhoseShardIsGoneForGoodSaysSo(t *testing.T) {
	w := newWorld(t)
	a, b := w.inShard("a", "team=a"), w.inShard("b", "team=b")
	w.label(map[string]string{"team": "a"})
	w.once(a)
	w.Expect(w.once(b)).NotTo(BeZero(), "no event will tell that the other one ends")
	w.Clock.Step(16 * time.Second)
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"), "it may be back at once")
	w.Clock.Step(takenWithin)
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(BeEmpty())
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonUnserved))
	w.Expect(b.Events.(*events.FakeRecorder).Events).To(Receive(ContainSubstring("modal-runner-controller-a is gone")))
	w.once(a)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"), "it has come back after all")
}

// When a manager of before there were shards makes room for shards, it still leads while they start, and names itself in no pool.
func TestNoShardTakesAPoolWhileAManagerThatIsNoShardLeads(t *testing.T) {
	w := newWorld(t)
	a, b := w.inShard("a", "team=a"), w.inShard("b", "team=b")
	w.label(map[string]string{"team": "a"})
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: shard.DefaultLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("pod"), LeaseDurationSeconds: ptr.To(int32(15))},
	}
	w.Expect(w.cluster.Create(t.Context(), lease)).To(Succeed())
	w.Expect(w.once(a)).To(Equal(takeWait))
	w.once(b)
	w.Expect(w.current().Status.ServedBy).To(BeEmpty())
	w.Expect(b.Events.(*events.FakeRecorder).Events).NotTo(Receive(), "it is served")
	lease.Spec.HolderIdentity = ptr.To("")
	w.Expect(w.cluster.Update(t.Context(), lease)).To(Succeed())
	w.Clock.Step(takeWait)
	w.once(b)
	w.Expect(b.Events.(*events.FakeRecorder).Events).NotTo(Receive(), "its shard may only be starting")
	w.once(a)
	w.Expect(w.current().Status.ServedBy).To(Equal("modal-runner-controller-a"))
}
