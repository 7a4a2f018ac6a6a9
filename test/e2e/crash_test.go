package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

// outsideCall is one kind of call to GitHub ("POST /repos/...") or Modal ("SandboxCreate"), and the how manieth of its kind
// in a Runner's life.
type outsideCall struct {
	kind  string
	nth   int
	after bool
}

func (c outsideCall) String() string {
	when := "before"
	if c.after {
		when = "after"
	}
	return fmt.Sprintf("%s %s #%d", when, c.kind, c.nth)
}

// perKind bounds how many calls of a kind are tried: lists are made again and again.
const perKind = 2

// sameInEveryLife are the calls that begin every life: they are tried in one.
var sameInEveryLife = regexp.MustCompile(`generate-jitconfig|SandboxCreate|SandboxTagsSet|SecretGetOrCreate|SandboxList|runners$`)

// lives that a Runner may have.
var lives = []struct {
	name       string
	behave     option
	change     []func(*v1alpha1.RunnerPoolSpec)
	conclusion string
	// whole has every call tried, not only those that other lives do not have.
	whole bool
	// live it, and give its job.
	live func(w *world) int64
}{
	{
		name: "a job is done", behave: func(*settings) {}, conclusion: "success", whole: true,
		live: func(w *world) int64 { return w.queue("build") },
	},
	{
		name: "a hung runner is replaced", behave: firstOnly(runner.Hang), conclusion: "success",
		change: []func(*v1alpha1.RunnerPoolSpec){startupTimeout(time.Second)},
		live:   func(w *world) int64 { return w.queue("build") },
	},
	{
		name: "a sandbox crashes", behave: firstOnly(runner.Crash), conclusion: "success",
		live: func(w *world) int64 { return w.queue("build") },
	},
	{
		name:   "an idle runner is retired",
		behave: withBehaviour(func(modalsim.Container) runner.Behaviour { return runner.Deaf }), conclusion: "cancelled",
		change: []func(*v1alpha1.RunnerPoolSpec){idleTimeout(time.Millisecond)},
		live: func(w *world) int64 {
			id := w.queue("build")
			time.AfterFunc(3*time.Second, func() { w.github.CancelJob(id) })
			return id
		},
	},
}

// TestI5_TheManagerMayDieAtAnyOutsideCall kills the manager at every outside call of a Runner's life, before the call takes
// effect and after it has with nobody to hear of it, and sees that the next one brings everything to its end: the job is
// done, never two sandboxes at once, nothing left over.
func TestI5_TheManagerMayDieAtAnyOutsideCall(t *testing.T) {
	const shards = 3
	for _, life := range lives {
		for shard := range shards {
			t.Run(fmt.Sprintf("%s, %d of %d", life.name, shard+1, shards), func(t *testing.T) {
				w := newWorld(t, life.behave)
				w.awaitReady(w.pool("p", 1, life.change...))
				end := func(id int64) {
					w.awaitAll([]int64{id}, life.conclusion)
					w.awaitNothingLeft()
				}
				calls := w.recordCalls(func() { end(life.live(w)) })
				tried, hits := 0, 0
				for i, call := range calls {
					if i%shards != shard || !life.whole && call.nth == 1 && sameInEveryLife.MatchString(call.kind) {
						continue
					}
					tried++
					if w.dieAt(call, life.live, end) {
						hits++
					}
					w.Expect(w.modal.Peak("")).To(Equal(1), "%s: two sandboxes were alive at once", call)
				}
				t.Logf("killed at %d of %d calls", hits, tried)
				w.Expect(2*hits).To(BeNumerically(">=", tried), "hardly a call was reached")
			})
		}
	}
}

// recordCalls that the manager makes about runners and sandboxes meanwhile.
func (w *world) recordCalls(meanwhile func()) []outsideCall {
	before := w.countCalls()
	meanwhile()
	var calls []outsideCall
	now := w.countCalls()
	for _, kind := range slices.Sorted(maps.Keys(now)) {
		for nth := 1; nth <= min(now[kind]-before[kind], perKind); nth++ {
			calls = append(calls, outsideCall{kind, nth, false}, outsideCall{kind, nth, true})
		}
	}
	return calls
}

func (w *world) countCalls() map[string]int {
	counts := map[string]int{}
	for request, count := range w.github.Requests() {
		// METHOD route status
		parts := strings.Fields(request)
		if strings.Contains(parts[1], "/actions/runners") && !strings.Contains(parts[1], "downloads") {
			counts[parts[0]+" "+parts[1]] += count
		}
	}
	for method, codes := range w.modal.Calls() {
		if method == "AuthTokenGet" {
			continue
		}
		for _, count := range codes {
			counts[method] += count
		}
	}
	return counts
}

// dieAt a call of a life: the call hangs, the manager is killed, and another one is started. It reports false when the life
// ended without that call.
func (w *world) dieAt(call outsideCall, live func(*world) int64, end func(int64)) bool {
	w.t.Helper()
	hit := w.hangAt(call)
	id := live(w)
	died := false
	w.Eventually(func() bool {
		if !died && hit() {
			w.manager.Kill()
			w.startManager()
			died = true
		}
		job, _ := w.github.Job(id)
		return died || job.Status == "completed" && len(w.runners()) == 0
	}).Should(BeTrue(), "%s", call)
	w.github.ClearFaults()
	w.modal.Faults().Clear()
	end(id)
	return died
}

// hangAt a call, once, and give what says whether it came.
func (w *world) hangAt(call outsideCall) func() bool {
	method, route, isGitHub := strings.Cut(call.kind, " ")
	if !isGitHub {
		return func(f *modalsim.ActiveFault) func() bool { return func() bool { return f.Hits() > 0 } }(
			w.modal.Faults().Add(modalsim.Fault{Method: call.kind, Skip: call.nth - 1, Times: 1, Hang: true, DropAnswer: call.after}))
	}
	before := w.github.FaultHits()[call.String()]
	path := regexp.MustCompile("^" + regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(route, `[^/]+`) + "$")
	w.github.Inject(githubsim.Fault{Kind: call.String(), Method: method, Path: path, Skip: call.nth - 1, Times: 1, Hang: true, AfterWork: call.after})
	return func() bool { return w.github.FaultHits()[call.String()] > before }
}
