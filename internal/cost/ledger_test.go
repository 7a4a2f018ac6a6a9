package cost

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// ledger in which a sandbox costs 1 a second.
func ledger() *Ledger {
	return NewLedger(&Prices{Currency: "EUR", CPUCoreSecond: 1, MemoryGiBSecond: 1, BroadRegion: 1, NarrowRegion: 1})
}

func pool() *v1alpha1.RunnerPool {
	return &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p"}}
}

// launched Runner whose sandbox ran a job of a repository.
func launched(id string, at time.Time, repository string) *v1alpha1.Runner {
	begun := metav1.NewTime(at)
	runner := &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p-0"},
		Spec:       v1alpha1.RunnerSpec{PoolName: "p", RunnerTemplate: v1alpha1.RunnerTemplate{Sandbox: v1alpha1.Sandbox{CPU: resource.MustParse("1")}}},
		Status:     v1alpha1.RunnerStatus{SandboxID: id, LaunchedAt: &begun},
	}
	if repository != "" {
		runner.Status.Job = &v1alpha1.RunnerJob{Repository: repository}
	}
	return runner
}

func TestWhatEndedAndWhatIsAliveIsAddedUp(t *testing.T) {
	g, l := NewWithT(t), ledger()
	l.Ended(launched("sb-1", noon, "octo/widgets"), noon.Add(time.Minute))
	l.Ended(launched("sb-1", noon, "octo/widgets"), noon.Add(2*time.Minute)) // told of twice
	l.Ended(launched("sb-2", noon, ""), noon.Add(30*time.Second))
	usage, spending := l.Usage(pool(), []v1alpha1.Runner{*launched("sb-3", noon, "")}, noon.Add(10*time.Second))
	g.Expect(usage).To(Equal(&v1alpha1.Usage{
		Day: "2026-01-01", SandboxSeconds: 90, Cost: "90.0000", CostAlive: "10.0000", Currency: "EUR",
		Repositories: []v1alpha1.RepositoryUsage{
			{Repository: "octo/widgets", SandboxSeconds: 60, Cost: "60.0000"}, {Repository: "", SandboxSeconds: 30, Cost: "30.0000"},
		},
	}))
	g.Expect(spending).To(Equal(Spending{Amount: 100, PerSecond: 1}))
}

func TestASandboxThatHasEndedCostsNoMore(t *testing.T) {
	g, l := NewWithT(t), ledger()
	runner := launched("sb-1", noon, "")
	ended := metav1.NewTime(noon.Add(time.Minute))
	runner.Status.EndedAt = &ended
	_, spending := l.Usage(pool(), []v1alpha1.Runner{*runner}, noon.Add(time.Hour))
	g.Expect(spending).To(Equal(Spending{Amount: 60}))
	l.Ended(runner, noon.Add(time.Hour))
	_, spending = l.Usage(pool(), nil, noon.Add(time.Hour))
	g.Expect(spending).To(Equal(Spending{Amount: 60}))
}

func TestARestartGoesOnFromTheStatus(t *testing.T) {
	g, before := NewWithT(t), ledger()
	before.Ended(launched("sb-1", noon, "octo/widgets"), noon.Add(time.Minute))
	stored := pool()
	stored.Status.Usage, _ = before.Usage(pool(), nil, noon.Add(time.Minute))
	after := ledger()
	after.Ended(launched("sb-2", noon, "octo/widgets"), noon.Add(time.Minute)) // before the pool is looked at
	usage, _ := after.Usage(stored, nil, noon.Add(time.Minute))
	g.Expect(usage.SandboxSeconds).To(BeEquivalentTo(120))
	g.Expect(usage.Repositories).To(HaveLen(1))
	usage, _ = after.Usage(stored, nil, noon.Add(time.Minute))
	g.Expect(usage.SandboxSeconds).To(BeEquivalentTo(120), "what is stored was added twice")
}

func TestEachDayBeginsWithNothing(t *testing.T) {
	g, l := NewWithT(t), ledger()
	midnight := NextDay(noon)
	g.Expect(midnight).To(Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)))
	l.Ended(launched("sb-1", noon, ""), noon.Add(time.Minute))
	over := launched("sb-2", midnight.Add(-time.Hour), "")
	usage, spending := l.Usage(pool(), []v1alpha1.Runner{*over}, midnight.Add(time.Minute))
	g.Expect(usage.SandboxSeconds).To(BeZero())
	g.Expect(spending.Amount).To(BeEquivalentTo(60), "the part of today of a sandbox that began yesterday")
	l.Ended(over, midnight.Add(2*time.Minute))
	usage, _ = l.Usage(pool(), nil, midnight.Add(3*time.Minute))
	g.Expect(usage.SandboxSeconds).To(BeEquivalentTo(120))
	yesterday := pool()
	yesterday.Status.Usage = &v1alpha1.Usage{Day: "2025-12-31", SandboxSeconds: 999, Cost: "999"}
	usage, _ = ledger().Usage(yesterday, nil, noon)
	g.Expect(usage).To(BeNil())
}

func TestWhatEndedYesterdayIsNoCostOfToday(t *testing.T) {
	g, l := NewWithT(t), ledger()
	midnight := NextDay(noon)
	runner := launched("sb-1", noon, "")
	ended := metav1.NewTime(midnight.Add(-time.Minute))
	runner.Status.EndedAt = &ended
	_, spending := l.Usage(pool(), []v1alpha1.Runner{*runner}, midnight.Add(time.Minute))
	g.Expect(spending.Amount).To(BeZero())
	l.Ended(runner, midnight.Add(5*time.Minute))
	_, spending = l.Usage(pool(), nil, midnight.Add(6*time.Minute))
	g.Expect(spending.Amount).To(BeZero())
}

func TestTheStatusNamesTheDearestRepositories(t *testing.T) {
	g, l := NewWithT(t), ledger()
	for i := range 30 {
		l.Ended(launched(fmt.Sprintf("sb-%d", i), noon, fmt.Sprintf("octo/r%02d", i)), noon.Add(time.Duration(i+1)*time.Second))
	}
	usage, _ := l.Usage(pool(), nil, noon.Add(time.Minute))
	g.Expect(usage.Repositories).To(HaveLen(mostRepositories))
	g.Expect(usage.Repositories[0].Repository).To(Equal("octo/r29"))
	g.Expect(usage.SandboxSeconds).To(BeEquivalentTo(30 * 31 / 2))
	l.Forget(types.NamespacedName{Namespace: "ci", Name: "p"})
	usage, _ = l.Usage(pool(), nil, noon)
	g.Expect(usage).To(BeNil())
}

func TestASandboxThatWasNeverMadeCostsNothing(t *testing.T) {
	g, l := NewWithT(t), ledger()
	l.Ended(&v1alpha1.Runner{Spec: v1alpha1.RunnerSpec{PoolName: "p"}}, noon)
	usage, spending := l.Usage(pool(), []v1alpha1.Runner{{}}, noon)
	g.Expect(usage).To(BeNil())
	g.Expect(spending).To(BeZero())
}
