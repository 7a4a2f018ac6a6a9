package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// When fifty sandboxes die between two scrapes, the alert must see an increase of fifty, not a series that begins with it. When none
// was ever launched, the failures must have something to be compared with.
func TestWhatAlertsCountBeginsAtNothing(t *testing.T) {
	pool := types.NamespacedName{Namespace: "ci", Name: "fresh"}
	defer ForgetPool(pool)
	KnowPool(pool)
	// let go, the launches, and what hangs and dies by reason.
	if got, want := series(t, "fresh"), 2+len(hungReasons)+len(diedReasons); got != want {
		t.Errorf("%d series, want %d", got, want)
	}
	for reason, counter := range map[string]float64{
		"died": testutil.ToFloat64(runnersDied.WithLabelValues("ci", "fresh", v1alpha1.ReasonOutOfMemory)),
		"hung": testutil.ToFloat64(runnersHung.WithLabelValues("ci", "fresh", v1alpha1.ReasonRunnerDeaf)),
	} {
		if counter != 0 {
			t.Errorf("%s begins with %v", reason, counter)
		}
	}
	for _, result := range []string{"failed", "unauthorized"} {
		if !slices.Contains(labelled(t, "modalrunner_webhook_deliveries_total", "result"), result) {
			t.Errorf("deliveries that are %s do not begin at nothing", result)
		}
	}
}

// labelled are the values of a label of a metric.
func labelled(t *testing.T, name, label string) []string {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				if family.GetName() == name && pair.GetName() == label {
					values = append(values, pair.GetValue())
				}
			}
		}
	}
	return values
}

// A reason why a sandbox ends that the controller learns of one day has to be counted from nothing too.
func TestEveryReasonOfADeathIsKnown(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../controllers/runner/death.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	ast.Inspect(file, func(n ast.Node) bool {
		selected, ok := n.(*ast.SelectorExpr)
		if !ok || !strings.HasPrefix(selected.Sel.Name, "Reason") {
			return true
		}
		// A sandbox that ended well did not die at work.
		if reason := strings.TrimPrefix(selected.Sel.Name, "Reason"); reason != v1alpha1.ReasonSandboxEnded {
			named++
			if !slices.Contains(diedReasons, reason) {
				t.Errorf("%s is not counted from nothing", reason)
			}
		}
		return true
	})
	if named < len(diedReasons) {
		t.Errorf("only %d reasons were found", named)
	}
}

// A replica that only receives has no controller that tells it of pools that are gone.
func TestTheSeriesOfAPoolGoWithItInReplicasThatOnlyReceive(t *testing.T) {
	gone := &v1alpha1.RunnerPool{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "received"}}
	for name, told := range map[string]any{"seen": gone, "missed": cache.DeletedFinalStateUnknown{Key: "ci/received", Obj: gone}} {
		JobCompleted(types.NamespacedName{Namespace: "ci", Name: "received"}, "success")
		if series(t, "received") != 1 {
			t.Fatal("nothing was recorded")
		}
		PoolsGone{}.OnUpdate(gone, gone)
		PoolsGone{}.OnAdd(gone, false)
		if series(t, "received") != 1 {
			t.Errorf("%s: the series are gone before the pool", name)
		}
		PoolsGone{}.OnDelete(told)
		if left := series(t, "received"); left != 0 {
			t.Errorf("%s: %d series of a pool that is gone", name, left)
		}
	}
}
