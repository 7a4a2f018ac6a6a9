package e2e

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// defaultLease is how long the lease lasts when no flag says otherwise.
const defaultLease = 15 * time.Second

// twoReplicas of one manager, the first of which leads.
func twoReplicas(t *testing.T, kubeconfig string, arguments ...string) (w *world, second *stack.Manager) {
	t.Helper()
	arguments = append([]string{"--leader-elect"}, arguments...)
	w = newWorld(t, withWebhooks, withArguments(arguments...), func(s *settings) { s.kubeconfig, s.webhooks = kubeconfig, false })
	w.awaitReady(w.pool("p", 4))
	second = w.another(plane.ManagerKubeconfig, arguments...)
	// The Service's part: deliveries come to the replica that stays.
	w.github.AddWebhook(the.place(), second.WebhookURL, webhookSecret)
	return w, second
}

// holder of the lease of the world's managers.
func (w *world) holder() string {
	var lease coordinationv1.Lease
	w.Expect(plane.Client.Get(w.ctx, clientKey(w.namespace, "modal-runner-controller"), &lease)).To(Succeed())
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// burst of jobs, a few a second, for as long as it takes to see a take-over in the middle of it.
func (w *world) burst(jobs int) (ids <-chan []int64) {
	done := make(chan []int64, 1)
	go func() {
		var all []int64
		for i := range jobs {
			all = append(all, w.queue(fmt.Sprint("burst-", i), "sleep 2.5"))
			time.Sleep(500 * time.Millisecond)
		}
		done <- all
	}()
	return done
}

// firstWrite of whoever leads from now on: to a pool or a Runner, which only leaders write.
func (w *world) firstWrite() <-chan time.Time {
	w.t.Helper()
	watching, err := client.NewWithWatch(plane.Config, client.Options{Scheme: plane.Client.Scheme()})
	w.Expect(err).NotTo(HaveOccurred())
	first := make(chan time.Time, 2)
	for _, list := range []client.ObjectList{&v1alpha1.RunnerPoolList{}, &v1alpha1.RunnerList{}} {
		w.Expect(plane.Client.List(w.ctx, list, client.InNamespace(w.namespace))).To(Succeed())
		from := &client.ListOptions{Namespace: w.namespace}
		from.Raw = from.AsListOptions()
		from.Raw.ResourceVersion = list.GetResourceVersion()
		changes, err := watching.Watch(w.ctx, list, from)
		w.Expect(err).NotTo(HaveOccurred())
		w.t.Cleanup(changes.Stop)
		go func() {
			for change := range changes.ResultChan() {
				if change.Type == watch.Added || change.Type == watch.Modified || change.Type == watch.Deleted {
					first <- time.Now()
					return
				}
			}
		}()
	}
	return first
}

// awaitBurst is done, every job once, and every delivery was stored when it came.
func (w *world) awaitBurst(burst <-chan []int64) {
	w.t.Helper()
	var ids []int64
	w.Eventually(burst, patience).Should(Receive(&ids))
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	for _, d := range w.github.Deliveries() {
		w.Expect(d.Status).To(BeNumerically("<", 300), "%s %s: %s", d.Event, d.Action, d.Answer)
		w.Expect(d.Redelivery).To(BeFalse())
	}
	w.expectEachItsRunner(ids)
	w.Expect(w.jobs()).To(HaveLen(len(ids)), "each was told of and stored")
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 4))
}

// expectEachItsRunner says that there are no jobs but these, and that each was run once, by a runner of its own.
func (w *world) expectEachItsRunner(ids []int64) {
	w.t.Helper()
	ran := map[string]int64{}
	for _, id := range ids {
		job, _ := w.github.Job(id)
		w.Expect(ran).NotTo(HaveKey(job.RunnerName))
		ran[job.RunnerName] = id
	}
	for _, job := range w.jobs() {
		// A job that is over before it was polled for is never stored.
		w.Expect(ids).To(ContainElement(job.Spec.ID))
	}
}

// B71: the leader is killed in the middle of a burst. Another one leads when the lease has run out, and until then no delivery is
// turned away.
func TestB71_TheLeaderIsKilledInTheMiddleOfABurst(t *testing.T) {
	w, _ := twoReplicas(t, plane.ManagerKubeconfig)
	leader, burst := w.holder(), w.burst(40)
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(Equal(4))
	w.manager.Kill()
	killed, first := time.Now(), w.firstWrite()
	stored := len(w.jobs())
	w.Eventually(func() int { return len(w.jobs()) }).Should(BeNumerically(">", stored+5))
	w.Expect(w.holder()).To(Equal(leader), "deliveries were to be stored while nobody leads")
	var at time.Time
	w.Eventually(first, patience).Should(Receive(&at))
	t.Logf("kill -9: the next leader wrote first after %s, with a lease of %s", at.Sub(killed).Round(100*time.Millisecond), defaultLease)
	w.Expect(w.holder()).NotTo(Equal(leader))
	w.Expect(at.Sub(killed)).To(BeNumerically(">", defaultLease/2), "the lease of a leader that may be alive was taken")
	w.awaitBurst(burst)
}

// A leader that is told to stop lets its lease go: the next one need not wait for its end, which here would take minutes.
func TestB71_ALeaderThatIsToldToStopHandsOver(t *testing.T) {
	w, _ := twoReplicas(t, plane.ManagerKubeconfig, "--leader-elect-lease-duration=10m", "--leader-elect-renew-deadline=5m")
	burst := w.burst(20)
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(Equal(4))
	told := time.Now()
	w.manager.Terminate()
	ended, first := time.Now(), w.firstWrite()
	var at time.Time
	w.Eventually(first, patience).Should(Receive(&at))
	t.Logf("SIGTERM: the leader ended after %s, and the next one wrote first %s after that",
		ended.Sub(told).Round(100*time.Millisecond), at.Sub(ended).Round(100*time.Millisecond))
	w.awaitBurst(burst)
}

// A leader that is cut off from the API server ends before another begins, and both go on when the way is mended.
func TestB71_ALeaderThatIsCutOffStopsBeforeAnotherBegins(t *testing.T) {
	proxy, err := stack.NewProxy(plane.ManagerKubeconfig, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	w, second := twoReplicas(t, proxy.Kubeconfig)
	leader, burst := w.holder(), w.burst(40)
	w.Eventually(func() int { return len(w.modal.Alive(nil)) }).Should(Equal(4))
	proxy.Cut()
	cut := time.Now()
	w.Eventually(w.manager.Ended).Should(BeTrue())
	w.Expect(w.holder()).To(Equal(leader), "another one leads before this one has ended")
	ended := time.Now()
	w.Expect(w.manager.Log()).To(ContainSubstring("leader election lost"))
	w.Eventually(w.holder).ShouldNot(Equal(leader))
	t.Logf("cut off: the leader ended after %s, and another one led %s after that", ended.Sub(cut).Round(100*time.Millisecond),
		time.Since(ended).Round(100*time.Millisecond))
	proxy.Mend()
	w.startManager()
	w.awaitBurst(burst)
	// The one that was cut off stands by, and leads when it has to.
	w.github.AddWebhook(the.place(), w.manager.WebhookURL, webhookSecret)
	second.Terminate()
	id := w.queue("after")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}
