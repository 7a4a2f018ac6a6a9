package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// shardOf the pools of a team, as arguments.
func shardOf(team string, more ...string) []string {
	return append([]string{
		"--leader-elect", "--shard=" + team, "--pool-selector=team=" + team,
		"--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms",
	}, more...)
}

// twoShards of teams a and b: the world's manager and another.
func twoShards(t *testing.T, more []string, options ...option) (w *world, b *stack.Manager) {
	t.Helper()
	w = newWorld(t, append(options, withArguments(shardOf("a", more...)...))...)
	return w, w.another(plane.ManagerKubeconfig, shardOf("b", more...)...)
}

// give a pool to a team's shard.
func (w *world) give(pool *v1alpha1.RunnerPool, team string) {
	w.t.Helper()
	w.patch(pool, fmt.Sprintf(`{"metadata":{"labels":{"team":%q}}}`, team))
}

// servedBy is the shard that has the pool.
func (w *world) servedBy(pool *v1alpha1.RunnerPool) func() string {
	return func() string {
		var now v1alpha1.RunnerPool
		w.Expect(plane.Client.Get(w.ctx, client.ObjectKeyFromObject(pool), &now)).To(Succeed())
		return strings.TrimPrefix(now.Status.ServedBy, "modal-runner-controller-")
	}
}

// A pool goes to and fro between two shards while its jobs run and every call to Modal takes its time: none is lost, none has two
// runners, the limit holds, nothing is left, and never does one shard find what the other is about to make.
func TestAPoolMovesBetweenShardsWhileItsJobsRun(t *testing.T) {
	w, _ := twoShards(t, nil)
	w.modal.Faults().Add(modalsim.Fault{Method: "SandboxCreate", Delay: 400 * time.Millisecond})
	pool := w.pool("p", 3)
	w.give(pool, "a")
	w.awaitReady(pool)
	var ids []int64
	for i := range 24 {
		ids = append(ids, w.queue(fmt.Sprint("build-", i), "sleep 0.7"))
	}
	moves := 0
	for team := "b"; ; moves++ {
		w.give(pool, team)
		w.Eventually(w.servedBy(pool)).Should(Equal(team))
		team = map[string]string{"a": "b", "b": "a"}[team]
		done := 0
		for _, id := range ids {
			if w.conclusion(id)() != "" {
				done++
			}
		}
		if done == len(ids) {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Logf("the pool moved %d times", moves)
	w.Expect(moves).To(BeNumerically(">", 5))
	w.awaitAll(ids, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Peak("")).To(BeNumerically("<=", 3))
	w.Expect(w.events()).NotTo(ContainElement(v1alpha1.ReasonNameTaken), "two shards acted for one Runner")
	w.expectEachItsRunner(ids)
}

// A delivery reaches any replica of any shard: it is stored, for the pool that is chosen among all of them.
func TestEveryShardTakesDeliveriesForAllPools(t *testing.T) {
	w, _ := twoShards(t, nil, withWebhooks)
	mine := w.pool("mine", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Priority = 1 })
	w.give(mine, "a")
	theirs := w.pool("theirs", 1, func(s *v1alpha1.RunnerPoolSpec) { s.Priority = 2 })
	w.give(theirs, "b")
	w.awaitReady(mine)
	w.awaitReady(theirs)
	id := w.queue("build")
	w.awaitAll([]int64{id}, "success")
	w.Expect(w.jobs()).To(HaveLen(1))
	w.Expect(w.jobs()[0].Spec.PoolName).To(Equal("theirs"))
	w.awaitNothingLeft()
}

// Shards share a mark, and each sweeps the app that both use: what a Runner of the other owns is no orphan, and what nobody owns
// is removed.
func TestNoShardRemovesWhatARunnerOfAnotherOwns(t *testing.T) {
	w, b := twoShards(t, []string{"--sweep-interval=1s", "--orphan-grace=1s"}, withBehaviour(func(c modalsim.Container) runner.Behaviour {
		if c.Env[runner.JITVariable] == "" {
			return runner.Hang
		}
		return ""
	}))
	first := w.pool("first", 1)
	w.give(first, "a")
	second := w.pool("second", 1, labels("other"), minIdle(1), idleTimeout(time.Second))
	w.give(second, "b")
	w.awaitReady(first)
	w.awaitPhases(v1alpha1.RunnerIdle)
	// The shard of the second pool is down: only the other one looks at the app.
	b.Kill()
	owned := w.outsideNames()
	w.makeSandbox("x-0-" + w.mark() + "-0123456789ab-7")
	w.Eventually(w.outsideNames).Should(ConsistOf(owned))
	w.Consistently(w.outsideNames, "4s", often).Should(ConsistOf(owned))
	w.Expect(b.Restart(w.ctx)).To(Succeed())
	w.patch(second, `{"spec":{"minIdle":0}}`)
	w.awaitNothingLeft()
}

// The pool of a shard that is gone is another's as soon as its lease has run out, with the jobs that run.
func TestAPoolOfAShardThatIsGoneIsTakenUp(t *testing.T) {
	w, _ := twoShards(t, nil)
	pool := w.pool("p", 2)
	w.give(pool, "a")
	w.awaitReady(pool)
	running := w.queue("running", "sleep 8")
	w.awaitRunning(running)
	w.manager.Kill()
	queued := w.queue("queued")
	w.give(pool, "b")
	w.Consistently(w.servedBy(pool), "1s", often).Should(Equal("a"), "its lease has not run out")
	w.Eventually(w.servedBy(pool)).Should(Equal("b"))
	w.awaitAll([]int64{running, queued}, "success")
	w.awaitNothingLeft()
	w.Expect(w.modal.Sandboxes()).To(HaveLen(2))
}

// A pool that no shard selects stores its jobs and says that nobody serves it, until one does.
func TestAPoolThatNoShardSelectsSaysSoAndKeepsItsJobs(t *testing.T) {
	w, _ := twoShards(t, nil, withWebhooks)
	pool := w.pool("p", 1)
	w.give(pool, "a")
	w.awaitReady(pool)
	w.give(pool, "nobody")
	w.Eventually(w.reason(pool)).Should(Equal(v1alpha1.ReasonUnserved))
	w.Expect(w.condition(pool, v1alpha1.ConditionReady).Message).To(ContainSubstring("--pool-selector"))
	id := w.queue("build")
	w.Eventually(func() int { return len(w.jobs()) }).Should(Equal(1))
	w.Consistently(func() int { return len(w.runners()) }, "2s", often).Should(BeZero())
	w.give(pool, "b")
	w.awaitAll([]int64{id}, "success")
	w.awaitNothingLeft()
}
