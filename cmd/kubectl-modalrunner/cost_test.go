package main

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

func TestMoney(t *testing.T) {
	for given, want := range map[amount]string{
		"": "-", "nonsense": "-", "0": "0.00 USD", "0.000": "0.00 USD", "0.01234": "0.0123 USD", "1": "1.00 USD", "12.345678": "12.35 USD",
	} {
		if got := money(given, "USD"); got != want {
			t.Errorf("%q is %q, not %q", given, got, want)
		}
	}
}

func TestCostsOf(t *testing.T) {
	g := NewWithT(t)
	usage := func(day, cost string, repositories ...v1alpha1.RepositoryUsage) func(*v1alpha1.RunnerPool) {
		return func(p *v1alpha1.RunnerPool) {
			p.Name = "of-" + day + "-" + cost
			p.Status.Usage = &v1alpha1.Usage{Day: day, SandboxSeconds: 7200, Cost: cost, Currency: "USD", Repositories: repositories}
		}
	}
	lives := func(perHour string, launched, ended time.Duration) func(*v1alpha1.Runner) {
		return func(r *v1alpha1.Runner) {
			r.Status.CostPerHour, r.Status.LaunchedAt = perHour, samples.Ago(launched)
			if ended > 0 {
				r.Status.EndedAt = samples.Ago(ended)
			}
		}
	}
	budget := func(p *v1alpha1.RunnerPool) { p.Spec.Budget = &v1alpha1.Budget{PerDay: resource.MustParse("12500m")} }
	all := costsOf([]view{
		{pool: samples.Pool(usage("2026-02-28", "99"))},
		{pool: samples.Pool(usage("2026-03-01", "9.5")), runners: []v1alpha1.Runner{
			samples.Runner("ended", v1alpha1.RunnerFailed, lives("3", 2*time.Hour, time.Hour)),
			samples.Runner("alive", v1alpha1.RunnerRunning, lives("2.5", 2*time.Hour, 0)),
			samples.Runner("unpriced", v1alpha1.RunnerRunning, lives("", 2*time.Hour, 0)),
			samples.Runner("pending", v1alpha1.RunnerPending),
		}},
		{pool: samples.Pool(usage("2026-03-01", "10.5", v1alpha1.RepositoryUsage{Repository: "octo/a", SandboxSeconds: 60, Cost: "1"},
			v1alpha1.RepositoryUsage{SandboxSeconds: 61, Cost: "2"}), budget)},
	}, samples.Now)
	var pools, runners, repositories []string
	for _, p := range all.Pools {
		pools = append(pools, p.Pool+" "+string(p.Cost)+" "+string(p.PerHour)+" "+string(p.Budget))
	}
	for _, r := range all.Runners {
		runners = append(runners, r.Runner+" "+string(r.Cost)+" "+seconds(r.Seconds))
	}
	for _, r := range all.Repositories {
		repositories = append(repositories, r.Repository+" "+string(r.Cost))
	}
	g.Expect(pools).To(Equal([]string{"of-2026-03-01-9.5 14.500000 2.500000 ", "of-2026-03-01-10.5 10.500000  12.500", "of-2026-02-28-99   "}))
	g.Expect(all.Pools[0].SandboxSeconds).To(BeEquivalentTo(7200+2*7200), "the unpriced lives too")
	g.Expect(runners).To(Equal([]string{"alive 5.000000 120m", "ended 3.000000 60m", "unpriced  120m", "pending  0s"}))
	g.Expect(repositories).To(Equal([]string{" 2", "octo/a 1"}))
}
