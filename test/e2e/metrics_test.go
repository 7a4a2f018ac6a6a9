package e2e

import (
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// What an operator's Prometheus gets of a manager that was at work: each metric of the docs, with values that are right.
func TestMetricsTellWhatHappened(t *testing.T) {
	o := &observed{world: newWorld(t, observedSettings)}
	o.work()
	o.expectDocumented()
	o.expectRight()
	o.expectLinted()
	o.expectDashboard()
	o.expectAlerts()
}

func (o *observed) last() string { return o.scrapes[len(o.scrapes)-1] }

// expectDocumented sees that all metrics of the docs have samples.
func (o *observed) expectDocumented() {
	docs, err := os.ReadFile("../../docs/operations.md")
	o.Expect(err).NotTo(HaveOccurred())
	names := regexp.MustCompile("(?m)^\\| `(modalrunner_[a-z_]+)` \\|").FindAllStringSubmatch(string(docs), -1)
	o.Expect(len(names)).To(BeNumerically(">", 40))
	scraped, missing := families(o, o.last()), []string{}
	for _, match := range names {
		if scraped[match[1]] == nil {
			missing = append(missing, match[1])
		}
	}
	o.Expect(missing).To(BeEmpty())
}

// expectRight compares the last scrape with what was done.
func (o *observed) expectRight() {
	scraped := families(o, o.last())
	value := func(name string, labels ...string) float64 { return sum(scraped[name], labels...) }
	for _, want := range []struct {
		name   string
		labels []string
		value  float64
	}{
		{"modalrunner_leader", []string{"shard", ""}, 1},
		{"modalrunner_pool_max_concurrency", []string{"pool", "busy"}, 2},
		{"modalrunner_pool_min_idle", []string{"pool", "warm"}, 1},
		{"modalrunner_pool_suspended", nil, 0},
		{"modalrunner_unserved_pools", nil, 0},
		{"modalrunner_pool_deleting", nil, 0},
		{"modalrunner_runners_let_go_total", nil, 0},
		{"modalrunner_pool_info", []string{"pool", "busy", "scope", strings.TrimPrefix(the.place(), "enterprise:")}, 1},
		{"modalrunner_pool_condition", []string{"pool", "busy", "condition", "Ready", "status", "true"}, 1},
		{"modalrunner_pool_condition", []string{"pool", "bare", "condition", "Ready", "status", "false"}, 1},
		{"modalrunner_pool_condition", []string{"condition", "Degraded", "status", "true"}, 1},
		{"modalrunner_pool_runners", []string{"pool", "busy", "phase", "Running"}, 2},
		{"modalrunner_pool_jobs", []string{"pool", "busy", "state", "in_progress"}, 2},
		{"modalrunner_pool_jobs", []string{"pool", "busy", "state", "queued"}, 2},
		{"modalrunner_pool_jobs", []string{"pool", "picky", "state", "unserved"}, 1},
		{"modalrunner_pool_unserved_jobs", []string{"reason", v1alpha1.ReasonFork}, 1},
		{"modalrunner_pool_budget_per_day", []string{"pool", "busy", "currency", "USD"}, 100},
		{"modalrunner_jobs_completed_total", []string{"pool", "busy", "conclusion", "success"}, 6},
		{"modalrunner_jobs_completed_total", []string{"pool", "dies", "conclusion", "failure"}, 2},
		{"modalrunner_job_duration_seconds", []string{"pool", "busy"}, 6},
		{"modalrunner_job_queue_seconds", []string{"pool", "busy"}, 8},
		{"modalrunner_runners_hung_total", []string{"pool", "hang", "reason", v1alpha1.ReasonStartupTimeout}, 2},
		{"modalrunner_runners_died_total", []string{"pool", "dies", "reason", v1alpha1.ReasonOutOfMemory}, 2},
		{"modalrunner_runner_attempt_failures_total", []string{"pool", "hang", "reason", v1alpha1.ReasonStartupTimeout}, 2},
		{"modalrunner_orphans_removed_total", []string{"kind", "sandbox"}, 2},
		{"modalrunner_orphans", nil, 0},
		{"modalrunner_image_build_duration_seconds", []string{"result", "succeeded"}, 3},
		{"modalrunner_webhook_deliveries_total", []string{"event", "workflow_job", "result", "unauthorized"}, 2},
	} {
		o.Expect(value(want.name, want.labels...)).To(Equal(want.value), "%s%v", want.name, want.labels)
	}
	now := float64(time.Now().Unix())
	for _, name := range []string{"modalrunner_queue_poll_timestamp_seconds", "modalrunner_list_timestamp_seconds", "modalrunner_pool_oldest_queued_job_timestamp_seconds"} {
		for _, metric := range scraped[name].GetMetric() {
			value, never := metric.GetGauge().GetValue(), strings.Contains(metric.String(), "/missing")
			o.Expect(value == 0).To(Equal(never), "%s%v", name, metric.GetLabel())
			o.Expect(never || math.Abs(now-value) < 300).To(BeTrue(), "%s%v is %v", name, metric.GetLabel(), value)
		}
	}
	o.Expect(value("modalrunner_pool_cost_today", "pool", "busy")).To(BeNumerically(">", 0))
	// Two sandboxes of a core and a gibibyte.
	o.Expect(value("modalrunner_pool_cost_per_hour", "pool", "busy")).To(BeNumerically("~", 2*0.1659, 0.001))
	o.Expect(value("modalrunner_github_rate_limit_remaining")).To(BeNumerically("<", value("modalrunner_github_rate_limit")))
	for _, histogram := range []string{"modalrunner_webhook_delivery_duration_seconds", "modalrunner_github_call_duration_seconds", "modalrunner_modal_call_duration_seconds"} {
		o.Expect(value(histogram)).To(BeNumerically(">", 5), histogram)
	}
	for _, family := range scraped {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				o.Expect(label.GetValue()).NotTo(ContainSubstring(token))
			}
		}
	}
}

// expectLinted has Prometheus's linter look at what is scraped. What controller-runtime and client-go name is theirs.
func (o *observed) expectLinted() {
	problems, err := promlint.New(strings.NewReader(o.last())).Lint()
	o.Expect(err).NotTo(HaveOccurred())
	for _, problem := range problems {
		o.Expect(problem.Metric).NotTo(HavePrefix("modalrunner_"), problem.Text)
	}
}
