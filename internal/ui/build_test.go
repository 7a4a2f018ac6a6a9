package ui

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

var everything = Filter{Window: Windows[0]}

func objectsOf(f *samples.Fleet) *Objects {
	return &Objects{Pools: f.Pools, Runners: f.Runners, Jobs: f.Jobs}
}

func TestAFleetAtAGlance(t *testing.T) {
	g := NewWithT(t)
	s := Build(objectsOf(samples.NewFleet()), everything, Controller{Replica: "pod-1", Version: "v1", Leads: true}, samples.Now)
	oldest := samples.Now.Add(-18 * time.Minute)
	g.Expect(s.Totals).To(Equal(Totals{
		Pools: 6, Ready: 3, Broken: 2, Off: 1, Waiting: 7, Oldest: &oldest, Starting: 2, Idle: 1, Running: 6, Limit: 20, Failures: 2, FailedJobs: 1,
	}))
	g.Expect(s.Namespaces).To(Equal([]string{"ci", "docs", "ml", "release"}))
	g.Expect(s.Controller).To(Equal(Controller{Replica: "pod-1", Version: "v1", Leads: true}))

	var pools []string
	for _, p := range s.Pools.Items {
		pools = append(pools, fmt.Sprintf("%s/%s: %s, %s", p.Namespace, p.Name, p.State, p.Tone))
	}
	g.Expect(pools).To(Equal([]string{
		"ci/legacy: Degraded, bad", "release/signing: Not ready, bad", "ci/widgets: Ready, good", "docs/site: Ready, good", "ml/gpu: Ready, good",
		"docs/archive: Suspended, off",
	}), "what needs somebody comes first")
	signing := s.Pools.Items[1]
	g.Expect(signing.Message).To(Equal("the Secret release/modal does not exist"))
	g.Expect(signing.Advice).To(HavePrefix("Create the Secret"))
	g.Expect(signing.URL).To(Equal("https://github.com/octo/installer"))
	for _, c := range signing.Conditions {
		broken := c.Type == v1alpha1.ConditionModalReady
		g.Expect(c.Tone == ToneBad).To(Equal(broken), c.Type)
		g.Expect(c.Advice != "").To(Equal(broken), c.Type)
	}

	var waiting []string
	for _, w := range s.Queue.Items {
		waiting = append(waiting, fmt.Sprintf("%s: %s, %s", w.Name, w.Reason, w.Tone))
	}
	g.Expect(waiting).To(Equal([]string{
		"publish: NeedsApproval, off", "package (rpm): RunnerPending, bad", "sign: PoolNotReady, bad", "finetune (70b): WishRefused, bad",
		"docs: RunnerStarting, busy", "e2e (firefox): PoolFull, wait", "e2e (chromium): PoolFull, wait",
	}), "the longest first")
}

func TestLivesOfRunnersAndJobs(t *testing.T) {
	g := NewWithT(t)
	s := Build(objectsOf(samples.NewFleet()), everything, Controller{}, samples.Now)
	tell := func(l Life) string { return fmt.Sprintf("%s %s %s: %s", l.Name, l.Job, l.State, l.Told(samples.Now)) }
	var now, over []string
	for _, l := range s.Runners.Items {
		now = append(now, tell(l))
	}
	for _, l := range s.Finished.Items {
		over = append(over, strings.TrimPrefix(tell(l), l.Name+" "))
		g.Expect(l.SandboxURL).To(Equal("https://modal.com/id/" + l.SandboxID))
	}
	g.Expect(now).To(Equal([]string{
		"legacy-0  Pending: pending for 13m",
		"widgets-0 test (linux, 1) Running: queued 1s, pending 4s, starting 25s, idle 2s, running for 10m",
		"widgets-1 test (linux, 2) Running: queued 1s, pending 4s, starting 32s, idle 2s, running for 10m",
		"widgets-2 build / image Running: queued 1s, pending 4s, starting 28s, idle 2s, running for 6m 30s",
		"widgets-3 integration Running: queued 1s, pending 4s, starting 1m 11s, idle 2s, running for 2m 54s",
		"widgets-4 lint Running: queued 1s, pending 4s, starting 24s, idle 2s, running for 1m 4s",
		"widgets-5  Starting: pending 9s, starting for 22s",
		"gpu-0 finetune (7b) Running: queued 1s, pending 4s, starting 31s, idle 2s, running for 9m 2s",
		"gpu-1  Idle: pending 10s, starting 42s, idle for 5m 8s",
		"gpu-2 evaluate Failed: queued 1s, pending 4s, starting 43s, idle 2s, running 5m 44s, ending for 1m 36s",
	}))
	g.Expect(over).To(Equal([]string{
		"publish Succeeded: queued 50s, running 1m 8s", "fuzz Succeeded: queued 40s, running 5m", "deploy / preview Cancelled: queued 50s, running 1m 10s",
		"e2e (firefox) Failed: queued 45s, running 6m 12s", "unit Succeeded: queued 40s, running 3m 30s", "prepare Succeeded: queued 40s, running 36s",
		"lint Succeeded: queued 30s, running 1m 20s",
	}), "the latest first")
}

func TestWhatIsOlderThanTheWindowIsLeftOut(t *testing.T) {
	g := NewWithT(t)
	fleet := samples.NewFleet()
	for window, want := range map[time.Duration]int{4 * time.Minute: 2, Windows[0]: 7} {
		s := Build(objectsOf(fleet), Filter{Window: window}, Controller{}, samples.Now.Add(30*time.Second))
		g.Expect(s.Finished.Total).To(Equal(want), window.String())
		g.Expect(s.Runners.Total).To(Equal(10), "what is there is shown, however old")
	}
}

func TestFailuresAreToldOnceWithTheirLastWords(t *testing.T) {
	g := NewWithT(t)
	fleet := samples.NewFleet()
	// The job of the sandbox that died tells of it too.
	for i := range fleet.Jobs {
		if fleet.Jobs[i].Spec.Name == "evaluate" {
			fleet.Jobs[i].Status.Problem = &v1alpha1.JobProblem{Reason: v1alpha1.ReasonOutOfMemory, Message: "the sandbox ended"}
		}
	}
	all := Build(objectsOf(fleet), everything, Controller{}, samples.Now).Failures.Items
	g.Expect(all).To(HaveLen(3))
	g.Expect(all[0]).To(And(HaveField("Kind", kindDied), HaveField("Subject", "evaluate"), HaveField("Reason", "OutOfMemory"),
		HaveField("Log", HaveSuffix("Killed")), HaveField("JobURL", HavePrefix("https://github.com/octo/trainer/")), HaveField("SandboxURL", "https://modal.com/id/sb-GPU-2")))
	g.Expect(all[1]).To(And(HaveField("Kind", kindAttempt), HaveField("Subject", "legacy-0"), HaveField("Log", ContainSubstring("SSL connection")),
		HaveField("RetryAt", HaveValue(Equal(samples.Now.Add(50*time.Second))))))
	g.Expect(all[2]).To(And(HaveField("Kind", kindJob), HaveField("Subject", "e2e (firefox)"), HaveField("Tone", ToneOff)))

	// Its Runner is gone: the pool still knows the failure, and the job its own.
	fleet.Runners = slices.DeleteFunc(fleet.Runners, func(r v1alpha1.Runner) bool { return r.Name == "legacy-0" || r.Name == "gpu-2" })
	all = Build(objectsOf(fleet), everything, Controller{}, samples.Now).Failures.Items
	g.Expect(all).To(ConsistOf(
		And(HaveField("Kind", kindDied), HaveField("Message", "the sandbox ended")),
		And(HaveField("Kind", kindAttempt), HaveField("Subject", "legacy-0-00c0ffee-0123456789ab-6")), HaveField("Kind", kindJob)))
}

func TestAFilterNarrowsEverythingDown(t *testing.T) {
	g := NewWithT(t)
	s := Build(objectsOf(samples.NewFleet()), Filter{Namespace: "ci", Pool: "wid", Window: Windows[0]}, Controller{}, samples.Now)
	g.Expect(s.Totals).To(And(HaveField("Pools", 1), HaveField("Waiting", 3), HaveField("Limit", 6), HaveField("Failures", 0), HaveField("FailedJobs", 1)))
	g.Expect(s.Runners.Total).To(Equal(6))
	g.Expect(s.Namespaces).To(HaveLen(4), "the others can still be chosen")
	for _, l := range append(s.Runners.Items, s.Finished.Items...) {
		g.Expect(l.Pool).To(Equal("widgets"))
	}
}

func TestAFilterComesFromTheQueryAndGoesBackThere(t *testing.T) {
	g := NewWithT(t)
	for query, want := range map[string]Filter{
		"":                                  {Window: Windows[0]},
		"namespace=ci&pool=w&window=1h":     {Namespace: "ci", Pool: "w", Window: time.Hour},
		"namespace=ci&window=1s":            {Namespace: "ci", Window: Windows[0]},
		"window=nonsense":                   {Window: Windows[0]},
		"pool=" + strings.Repeat("x", 1000): {Pool: strings.Repeat("x", longest), Window: Windows[0]},
	} {
		values, err := url.ParseQuery(query)
		g.Expect(err).NotTo(HaveOccurred())
		f := parseFilter(values)
		g.Expect(f).To(Equal(want))
		again, err := url.ParseQuery(f.Query())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(parseFilter(again)).To(Equal(f))
	}
}

func TestALargeInstallationIsCutAndItsOrderIsAlwaysTheSame(t *testing.T) {
	g := NewWithT(t)
	objects := &Objects{}
	for i := range 1000 {
		name := fmt.Sprintf("pool-%d", i)
		objects.Pools = append(objects.Pools, samples.Pool(func(p *v1alpha1.RunnerPool) { p.Name, p.Status.Running = name, 3 }))
		for n := range 3 {
			objects.Runners = append(objects.Runners, samples.Runner(fmt.Sprintf("%s-%d", name, n), v1alpha1.RunnerRunning, func(r *v1alpha1.Runner) {
				r.Spec.PoolName, r.UID = name, "" // the same for all: names alone tell them apart
			}))
		}
		for n := range 4 {
			objects.Jobs = append(objects.Jobs, samples.QueuedJob(int64(10*i+n), func(j *v1alpha1.WorkflowJob) {
				j.Spec.PoolName = name
				if n > 1 {
					j.Status.State, j.Status.Conclusion, j.Status.CompletedAt = v1alpha1.JobCompleted, "failure", samples.Ago(time.Second)
				}
			}))
		}
	}
	tell := func() string {
		s := Build(objects, everything, Controller{}, samples.Now)
		g.Expect([]int{len(s.Pools.Items), len(s.Queue.Items), len(s.Runners.Items), len(s.Finished.Items), len(s.Failures.Items)}).
			To(Equal([]int{maxPools, maxWaiting, maxRunners, maxFinished, maxFailures}))
		g.Expect([]int{s.Pools.Total, s.Queue.Total, s.Runners.Total, s.Finished.Total, s.Failures.Total}).To(Equal([]int{1000, 2000, 3000, 2000, 2000}))
		g.Expect(s.Pools.More()).To(Equal(950))
		g.Expect(s.Totals.Running).To(Equal(3000))
		text, err := json.Marshal(s)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(len(text)).To(BeNumerically("<", 256<<10), "it stays small")
		return string(text)
	}
	first := tell()
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(objects.Pools), func(i, j int) { objects.Pools[i], objects.Pools[j] = objects.Pools[j], objects.Pools[i] })
	random.Shuffle(len(objects.Runners), func(i, j int) { objects.Runners[i], objects.Runners[j] = objects.Runners[j], objects.Runners[i] })
	random.Shuffle(len(objects.Jobs), func(i, j int) { objects.Jobs[i], objects.Jobs[j] = objects.Jobs[j], objects.Jobs[i] })
	g.Expect(tell() == first).To(BeTrue(), "the order of the cache does not matter")
}

func TestWhatBelongsToAPoolThatIsGoneIsStillShown(t *testing.T) {
	g := NewWithT(t)
	fleet := samples.NewFleet()
	fleet.Pools = slices.DeleteFunc(fleet.Pools, func(p v1alpha1.RunnerPool) bool { return p.Name == "widgets" })
	s := Build(objectsOf(fleet), Filter{Pool: "widgets", Window: Windows[0]}, Controller{}, samples.Now)
	g.Expect(s.Pools.Total).To(BeZero())
	g.Expect(s.Runners.Total).To(Equal(6))
	g.Expect(s.Queue.Items).To(HaveEach(And(HaveField("Tone", ToneBad), HaveField("Message", "the RunnerPool widgets is gone"), HaveField("Pool", "widgets"))))
}

func TestStepsNeverGoBack(t *testing.T) {
	at := func(seconds int) *metav1.Time {
		return &metav1.Time{Time: samples.Now.Add(time.Duration(seconds) * time.Second)}
	}
	for name, test := range map[string]struct {
		end   *metav1.Time
		marks []mark
		want  string
	}{
		"none":                {want: ""},
		"one that goes on":    {marks: []mark{{"a", at(1)}}, want: "a 1-"},
		"one that ended":      {marks: []mark{{"a", at(1)}}, end: at(4), want: "a 1-4"},
		"one that is missing": {marks: []mark{{"a", at(1)}, {"b", nil}, {"c", at(3)}}, want: "a 1-3 c 3-"},
		"one without length":  {marks: []mark{{"a", at(1)}, {"b", at(3)}, {"c", at(3)}}, want: "a 1-3 c 3-"},
		"a clock that lags":   {marks: []mark{{"a", at(5)}, {"b", at(3)}, {"c", at(9)}}, want: "b 5-9 c 9-"},
		"an end too early":    {marks: []mark{{"a", at(1)}, {"b", at(5)}}, end: at(2), want: "a 1-5 b 5-5"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			for _, s := range steps(test.end, test.marks...) {
				text := fmt.Sprintf("%s %d-", s.Step, int(s.From.Sub(samples.Now).Seconds()))
				if s.To != nil {
					text += strconv.Itoa(int(s.To.Sub(samples.Now).Seconds()))
				}
				told = append(told, text)
			}
			NewWithT(t).Expect(strings.Join(told, " ")).To(Equal(test.want))
		})
	}
}

func TestPoolsThatAreOnTheirWayAreNotBroken(t *testing.T) {
	g := NewWithT(t)
	for reason, want := range map[string]Tone{
		v1alpha1.ReasonBuilding: ToneWait, v1alpha1.ReasonChecking: ToneWait, v1alpha1.ReasonThrottled: ToneWait, v1alpha1.ReasonBuildFailed: ToneBad,
		v1alpha1.ReasonUnauthorized: ToneBad,
	} {
		p := samples.Pool(func(p *v1alpha1.RunnerPool) {
			p.Status.Conditions[0].Status, p.Status.Conditions[0].Reason = metav1.ConditionFalse, reason
		})
		g.Expect(poolOf(&p).Tone).To(Equal(want), reason)
	}
	p := samples.Pool(func(p *v1alpha1.RunnerPool) { p.Status.Conditions = nil })
	g.Expect(poolOf(&p)).To(And(HaveField("State", "Not ready yet"), HaveField("Message", "no controller has seen it yet"), HaveField("Since", BeNil())))
	p = samples.Pool(func(p *v1alpha1.RunnerPool) { p.DeletionTimestamp = samples.Ago(time.Second) })
	g.Expect(poolOf(&p)).To(And(HaveField("State", "Deleting"), HaveField("Tone", ToneOff)))
}

func TestOnlyWebAddressesAreLinked(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com/octo/widgets": "https://github.com/octo/widgets",
		"http://localhost:8080/x":         "http://localhost:8080/x",
		"javascript:alert(1)":             "",
		"data:text/html,x":                "",
		"//github.com/octo":               "",
		"/octo":                           "",
		"https://user:secret@github.com":  "",
		"https://":                        "",
		"":                                "",
	} {
		NewWithT(t).Expect(safeURL(address)).To(Equal(want), address)
	}
}

func TestThereIsAdviceForEveryReason(t *testing.T) {
	files, err := filepath.Glob("../../api/v1alpha1/*_types.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
				return true
			}
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if _, known := advice[reason]; !known {
				t.Errorf("advice has no entry for %s", reason)
			}
			return true
		})
	}
	if found < 40 {
		t.Errorf("only %d reasons were found", found)
	}
}
