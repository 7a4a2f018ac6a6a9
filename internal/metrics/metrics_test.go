package metrics

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"k8s.io/apimachinery/pkg/types"
)

var (
	documented = regexp.MustCompile("(?m)^\\| `(modalrunner_[a-z_]+)` \\| (.*?) ?\\|")
	described  = regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: {([a-z_,]*)}`)
	a, b       = types.NamespacedName{Namespace: "ci", Name: "a"}, types.NamespacedName{Namespace: "ci", Name: "b"}
)

// names of all metrics that there are, with their labels as the docs write them.
func names(t *testing.T) map[string]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 200)
	for _, c := range append(all, &Objects{}) {
		c.Describe(descs)
	}
	close(descs)
	names := map[string]string{}
	for desc := range descs {
		found := described.FindStringSubmatch(desc.String())
		labels := found[2]
		if labels != "" {
			labels = "`" + strings.ReplaceAll(labels, ",", "`, `") + "`"
		}
		names[found[1]] = labels
	}
	return names
}

// Every metric that there is is in the docs with its labels, and none beside them.
func TestTheDocsHaveEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	inDocs := map[string]string{}
	for _, match := range documented.FindAllStringSubmatch(string(text), -1) {
		inDocs[match[1]] = match[2]
	}
	for name, labels := range names(t) {
		if got, ok := inDocs[name]; !ok || got != labels {
			t.Errorf("docs/operations.md has %s with labels %q, want %q", name, got, labels)
		}
		delete(inDocs, name)
	}
	for left := range inDocs {
		t.Errorf("docs/operations.md tells of %s, which there is not", left)
	}
}

// record something with every metric that is not of objects.
func record() {
	SetBuild("v1", "abc")
	SetLeader("", true)
	GitHubCall("listing runners", "200", time.Second)
	GitHubBudget("ci/github", 5000, 10, time.Unix(1, 0))
	ModalCall("SandboxCreate", "OK", time.Second)
	WebhookDelivery("ping", "pong", time.Millisecond)
	WebhookRedelivered()
	Orphans("sandbox", 1)
	OrphanRemoved("sandbox")
	SandboxEnded("Success")
	ImageBuilt(time.Second, nil)
	ImageBuilt(time.Second, errors.New("failed"))
	for _, pool := range []types.NamespacedName{a, b} {
		RunnerLaunched(pool, time.Second)
		RunnerOnline(pool, time.Second)
		JobStarted(pool, time.Second)
		JobRan(pool, time.Second)
		JobCompleted(pool, "success")
		AttemptFailed(pool, "StartupTimeout")
		RunnerHung(pool, "StartupTimeout")
		RunnerDied(pool, "OutOfMemory")
		RunnerLetGo(pool)
		SandboxCost(pool, "octo/widgets", "T4", "USD", 10, 0.5)
	}
}

// gathered gives a registry of what was recorded and the metrics of objects.
func gathered(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range append(all, objects(t)) {
		registry.MustRegister(c)
	}
	return registry
}

// What Prometheus's own linter says of all of them: names, units, types, help.
func TestTheMetricsAreAsPrometheusAsks(t *testing.T) {
	record()
	problems, err := testutil.GatherAndLint(gathered(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	families, err := gathered(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	missing := names(t)
	for _, family := range families {
		delete(missing, family.GetName())
	}
	for name := range missing {
		t.Errorf("%s was not looked at", name)
	}
}

// The linter is not blind.
func TestTheLinterFindsAWrongName(t *testing.T) {
	problems, err := promlint.New(strings.NewReader("# TYPE modalrunner_things counter\nmodalrunner_things 1\n")).Lint()
	if err != nil || len(problems) == 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestTheSeriesOfAPoolGoWithIt(t *testing.T) {
	record()
	if series(t, "a") == 0 || series(t, "b") == 0 {
		t.Fatal("nothing was recorded")
	}
	ForgetPool(a)
	if left := series(t, "a"); left != 0 {
		t.Errorf("%d series of a pool that is gone", left)
	}
	if series(t, "b") == 0 {
		t.Error("another pool's are gone too")
	}
}

// series with the label of a pool.
func series(t *testing.T, pool string) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(all...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == poolName && label.GetValue() == pool {
					count++
				}
			}
		}
	}
	return count
}

func TestThereAreOnlySoManyRepositories(t *testing.T) {
	pool := types.NamespacedName{Namespace: "ci", Name: "wide"}
	defer ForgetPool(pool)
	for i := range 3 * maxRepositories {
		SandboxCost(pool, fmt.Sprintf("octo/r%d", i), "", "USD", 1, 1)
	}
	SandboxCost(pool, "", "", "USD", 1, 1)
	SandboxCost(pool, "octo/r0", "", "USD", 1, 1)
	if count := series(t, "wide"); count != 2*(maxRepositories+2) {
		t.Errorf("%d series", count)
	}
	for repository, want := range map[string]float64{"": 1, "octo/r0": 2, "octo/r1": 1, otherRepositories: 2 * maxRepositories} {
		if got := testutil.ToFloat64(sandboxCost.WithLabelValues("ci", "wide", repository, "USD")); got != want {
			t.Errorf("%q cost %v, want %v", repository, got, want)
		}
	}
}

// What GitHub may say one day makes no new series.
func TestConclusionsAreAClosedSet(t *testing.T) {
	pool := types.NamespacedName{Namespace: "ci", Name: "conclusions"}
	defer ForgetPool(pool)
	for _, conclusion := range []string{"success", "failure", "", "exploded", "imploded", "deleted"} {
		JobCompleted(pool, conclusion)
	}
	for conclusion, want := range map[string]float64{"success": 1, "failure": 1, "unknown": 1, "other": 2, "deleted": 1} {
		if got := testutil.ToFloat64(jobsCompleted.WithLabelValues("ci", "conclusions", conclusion)); got != want {
			t.Errorf("%s: %v, want %v", conclusion, got, want)
		}
	}
	if count := series(t, "conclusions"); count != 5 {
		t.Errorf("%d series", count)
	}
}

// A call that was held back took no time, which would make GitHub look fast.
func TestAHeldCallHasNoDuration(t *testing.T) {
	GitHubCall("held back", GitHubHeld, time.Second)
	if got := testutil.ToFloat64(githubCalls.WithLabelValues("held back", GitHubHeld)); got != 1 {
		t.Errorf("counted %v times", got)
	}
	before := testutil.CollectAndCount(githubSeconds)
	GitHubCall("held back", GitHubHeld, time.Second)
	if after := testutil.CollectAndCount(githubSeconds); after != before {
		t.Error("its duration was observed")
	}
}
