package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

var epoch = time.Unix(1_700_000_000, 0)

func at(seconds int) *metav1.Time {
	t := metav1.NewTime(epoch.Add(time.Duration(seconds) * time.Second))
	return &t
}

func job(name, pool string, state v1alpha1.JobState, queued *metav1.Time, change ...func(*v1alpha1.WorkflowJob)) *v1alpha1.WorkflowJob {
	j := &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, CreationTimestamp: *at(1)},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: pool, Repository: "octo/widgets", Labels: []string{"modal"}},
		Status:     v1alpha1.WorkflowJobStatus{State: state, QueuedAt: queued, HeadRepository: "octo/widgets"},
	}
	for _, c := range change {
		c(j)
	}
	return j
}

func runner(name, pool string, phase v1alpha1.RunnerPhase) *v1alpha1.Runner {
	return &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name}, Spec: v1alpha1.RunnerSpec{PoolName: pool},
		Status: v1alpha1.RunnerStatus{Phase: phase},
	}
}

func stored() []client.Object {
	budget := resource.MustParse("2.5")
	busy := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "busy"},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: "octo/widgets"}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 7, MinIdle: 2,
			Budget: &v1alpha1.Budget{PerDay: budget},
		},
		Status: v1alpha1.RunnerPoolStatus{
			ServedBy: "modal-runner-controller",
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}, {Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue},
			},
			Circuit: &v1alpha1.Circuit{Failures: 6, ProbeAt: *at(90)},
			Image:   &v1alpha1.ImageStatus{RunnerVersion: "2.330.0"},
		},
	}
	quiet := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "quiet", DeletionTimestamp: at(3), Finalizers: []string{v1alpha1.PoolFinalizer}},
		Spec:       v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Organization: "octo"}, Labels: []v1alpha1.RunnerLabel{"modal"}, Suspend: true},
	}
	return []client.Object{
		busy, quiet,
		job("job-1", "busy", v1alpha1.JobQueued, at(50)),
		job("job-2", "busy", v1alpha1.JobQueued, at(40)),
		job("job-3", "busy", v1alpha1.JobWaiting, at(10)),
		job("job-4", "busy", v1alpha1.JobInProgress, at(10)),
		job("job-5", "busy", v1alpha1.JobCompleted, at(10)),
		job("job-6", "busy", v1alpha1.JobQueued, at(5), func(j *v1alpha1.WorkflowJob) { j.Spec.Public = true }),
		job("job-7", "busy", v1alpha1.JobQueued, at(5), func(j *v1alpha1.WorkflowJob) { j.Status.HeadRepository = "" }),
		job("job-8", "gone", v1alpha1.JobQueued, at(5)),
		runner("busy-0", "busy", v1alpha1.RunnerRunning), runner("busy-1", "busy", ""), runner("busy-2", "busy", v1alpha1.RunnerIdle),
		runner("gone-0", "gone", v1alpha1.RunnerRunning),
	}
}

// objects as the cache of a replica that acts has them.
func objects(t *testing.T) *Objects {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	acts := make(chan struct{})
	close(acts)
	return &Objects{
		Reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(stored()...).Build(), Clock: testclock.NewFakeClock(epoch), Acts: acts,
		Spending: func(_ *v1alpha1.RunnerPool, runners []v1alpha1.Runner, _ time.Time) Spending {
			return Spending{Amount: 1.5, PerSecond: float64(len(runners)) / 3600, Currency: "USD"}
		},
		Polls: func() map[Queue]time.Time {
			return map[Queue]time.Time{{"octo/widgets", "ci/github"}: at(7).Time, {"octo/new", "ci/github"}: {}}
		},
		Lists: map[string]func() map[string]time.Time{"sandboxes": func() map[string]time.Time { return map[string]time.Time{"app": at(8).Time} }},
	}
}

func TestTheMetricsOfObjectsAreWhatIsStored(t *testing.T) {
	want := `
# HELP modalrunner_pool_jobs Jobs of the pool that are not over: queued (a runner is wanted), unserved (queued, and refused or not decided), waiting (for an approval) or in_progress.
# TYPE modalrunner_pool_jobs gauge
modalrunner_pool_jobs{pool="busy",pool_namespace="ci",state="in_progress"} 1
modalrunner_pool_jobs{pool="busy",pool_namespace="ci",state="queued"} 2
modalrunner_pool_jobs{pool="busy",pool_namespace="ci",state="unserved"} 2
modalrunner_pool_jobs{pool="busy",pool_namespace="ci",state="waiting"} 1
modalrunner_pool_jobs{pool="quiet",pool_namespace="ci",state="in_progress"} 0
modalrunner_pool_jobs{pool="quiet",pool_namespace="ci",state="queued"} 0
modalrunner_pool_jobs{pool="quiet",pool_namespace="ci",state="unserved"} 0
modalrunner_pool_jobs{pool="quiet",pool_namespace="ci",state="waiting"} 0
# HELP modalrunner_pool_oldest_queued_job_timestamp_seconds When the queued job that has waited longest for a runner of the pool was created at GitHub, in Unix time; absent while none waits.
# TYPE modalrunner_pool_oldest_queued_job_timestamp_seconds gauge
modalrunner_pool_oldest_queued_job_timestamp_seconds{pool="busy",pool_namespace="ci"} 1.70000004e+09
# HELP modalrunner_pool_condition 1 for the status that the pool's condition has (true, false or unknown), 0 for the other two.
# TYPE modalrunner_pool_condition gauge
modalrunner_pool_condition{condition="Degraded",pool="busy",pool_namespace="ci",status="false"} 0
modalrunner_pool_condition{condition="Degraded",pool="busy",pool_namespace="ci",status="true"} 1
modalrunner_pool_condition{condition="Degraded",pool="busy",pool_namespace="ci",status="unknown"} 0
modalrunner_pool_condition{condition="Ready",pool="busy",pool_namespace="ci",status="false"} 1
modalrunner_pool_condition{condition="Ready",pool="busy",pool_namespace="ci",status="true"} 0
modalrunner_pool_condition{condition="Ready",pool="busy",pool_namespace="ci",status="unknown"} 0
# HELP modalrunner_pool_circuit_probe_timestamp_seconds When the degraded pool tries again to start a runner, in Unix time; absent while it is not degraded.
# TYPE modalrunner_pool_circuit_probe_timestamp_seconds gauge
modalrunner_pool_circuit_probe_timestamp_seconds{pool="busy",pool_namespace="ci"} 1.70000009e+09
# HELP modalrunner_queue_poll_timestamp_seconds When the latest poll of a scope's queue that went well was begun, in Unix time; 0 for none yet.
# TYPE modalrunner_queue_poll_timestamp_seconds gauge
modalrunner_queue_poll_timestamp_seconds{credential="ci/github",scope="octo/new"} 0
modalrunner_queue_poll_timestamp_seconds{credential="ci/github",scope="octo/widgets"} 1.700000007e+09
# HELP modalrunner_list_timestamp_seconds When the latest list of registrations or sandboxes that went well was begun, in Unix time; 0 for none yet.
# TYPE modalrunner_list_timestamp_seconds gauge
modalrunner_list_timestamp_seconds{kind="sandboxes",source="app"} 1.700000008e+09
# HELP modalrunner_pool_budget_per_day What the pool may spend a day, in the price table's currency; absent for a pool without a budget.
# TYPE modalrunner_pool_budget_per_day gauge
modalrunner_pool_budget_per_day{currency="USD",pool="busy",pool_namespace="ci"} 2.5
`
	compared := []string{
		"modalrunner_pool_jobs", "modalrunner_pool_oldest_queued_job_timestamp_seconds", "modalrunner_pool_condition",
		"modalrunner_pool_circuit_probe_timestamp_seconds", "modalrunner_queue_poll_timestamp_seconds", "modalrunner_list_timestamp_seconds",
		"modalrunner_pool_budget_per_day",
	}
	if err := testutil.CollectAndCompare(objects(t), strings.NewReader(want), compared...); err != nil {
		t.Error(err)
	}
	for name, value := range values(t, objects(t)) {
		if strings.Contains(name, "gone") {
			t.Errorf("%s is of a pool that is not there", name)
		}
		want, known := map[string]float64{
			"modalrunner_pool_max_concurrency busy": 7, "modalrunner_pool_min_idle busy": 2, "modalrunner_pool_suspended busy": 0,
			"modalrunner_pool_suspended quiet": 1, "modalrunner_pool_deleting busy": 0, "modalrunner_pool_deleting quiet": 1, "modalrunner_pool_runners busy Pending": 1, "modalrunner_pool_runners busy Running": 1,
			"modalrunner_pool_runners busy Idle": 1, "modalrunner_pool_runners busy Failed": 0, "modalrunner_pool_runners quiet Pending": 0,
			"modalrunner_pool_circuit_failures busy": 6, "modalrunner_pool_circuit_failures quiet": 0,
			"modalrunner_pool_unserved_jobs busy PublicRepository": 1, "modalrunner_pool_unserved_jobs busy Undecided": 1,
			"modalrunner_pool_unserved_jobs busy Fork": 0, "modalrunner_pool_cost_today USD busy": 1.5, "modalrunner_pool_cost_per_hour USD busy": 3,
			"modalrunner_pool_info busy 2.330.0 octo/widgets": 1, "modalrunner_pool_info quiet  octo": 1, "modalrunner_unserved_pools": 1,
		}[name]
		if known && value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
}

// values by metric and the values of its labels, the namespace aside.
func values(t *testing.T, o *Objects) map[string]float64 {
	t.Helper()
	registry := newRegistry(o)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			parts := []string{family.GetName()}
			for _, label := range metric.GetLabel() {
				if label.GetName() != poolNamespace {
					parts = append(parts, label.GetValue())
				}
			}
			all[strings.Join(parts, " ")] = metric.GetGauge().GetValue()
		}
	}
	return all
}

// Two replicas that both told of the same objects would be counted twice.
func TestAReplicaThatDoesNotActTellsNothingOfObjects(t *testing.T) {
	o := objects(t)
	acts := make(chan struct{})
	o.Acts = acts
	if count := testutil.CollectAndCount(o); count != 0 {
		t.Errorf("%d metrics", count)
	}
	close(acts)
	if count := testutil.CollectAndCount(o); count == 0 {
		t.Error("none when it acts")
	}
}

func TestAShardTellsOfItsOwnPools(t *testing.T) {
	o := objects(t)
	o.Serves = func(pool *v1alpha1.RunnerPool) bool { return pool.Name == "quiet" }
	for name := range values(t, o) {
		if strings.Contains(name, "busy") {
			t.Errorf("%s is another's", name)
		}
	}
}

// A part of the truth would be taken for the whole.
func TestACacheThatDoesNotAnswerIsAnError(t *testing.T) {
	o := objects(t)
	o.Reader = interceptor.NewClient(o.Reader.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, runners := list.(*v1alpha1.RunnerList); runners {
				return errors.New("the cache is not in sync")
			}
			return c.List(ctx, list, opts...)
		},
	})
	families, err := newRegistry(o).Gather()
	if err == nil || len(families) != 0 {
		t.Errorf("%d families, error %v", len(families), err)
	}
}

func newRegistry(o *Objects) *prometheus.Registry {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(o)
	return registry
}
