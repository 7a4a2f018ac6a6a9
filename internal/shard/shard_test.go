package shard

import (
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func poolOf(servedBy string, labels map[string]string) *v1alpha1.RunnerPool {
	return &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "p", Labels: labels}, Status: v1alpha1.RunnerPoolStatus{ServedBy: servedBy},
	}
}

func TestNewSaysWhatIsWrongWithAShard(t *testing.T) {
	for given, says := range map[[2]string]string{
		{"", ""}:                         "",
		{"a", ""}:                        "",
		{"a", "team=a"}:                  "",
		{"rest", "!team"}:                "",
		{"a", "team in (a,b), !archive"}: "",
		{"", "team=a"}:                   "--pool-selector=team=a needs a --shard",
		{"A b", ""}:                      "--shard=A b is no name for a shard: a lowercase RFC 1123 label",
		{"a", "team=a=b"}:                "--pool-selector=team=a=b is no label selector",
	} {
		_, err := New(given[0], given[1])
		if says == "" && err != nil || says != "" && (err == nil || !strings.HasPrefix(err.Error(), says)) {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestAPoolIsHeldThatIsSelectedAndTaken(t *testing.T) {
	shard, err := New("a", "team=a")
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{"team": "a"}
	for name, c := range map[string]struct {
		shard *Shard
		pool  *v1alpha1.RunnerPool
		holds bool
	}{
		"taken":              {shard, poolOf("modal-runner-controller-a", of), true},
		"not taken yet":      {shard, poolOf("", of), false},
		"another's still":    {shard, poolOf("modal-runner-controller-b", of), false},
		"not selected again": {shard, poolOf("modal-runner-controller-a", nil), false},
		"no shards at all":   {nil, poolOf("", nil), true},
	} {
		if got := c.shard.Holds(c.pool); got != c.holds {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAPoolIsNotLetGoWhileSomethingIsDoneForIt(t *testing.T) {
	shard, err := New("a", "")
	if err != nil {
		t.Fatal(err)
	}
	pool, other := types.NamespacedName{Namespace: "ci", Name: "p"}, types.NamespacedName{Namespace: "ci", Name: "q"}
	first, second := shard.Enter(pool), shard.Enter(pool)
	first()
	if !shard.Acting(pool) || shard.Acting(other) {
		t.Errorf("acting: %t for the pool, %t for another", shard.Acting(pool), shard.Acting(other))
	}
	second()
	if shard.Acting(pool) {
		t.Error("all have left, and the pool is not let go")
	}
}

func TestOnlyWhatMovesAPoolMovesIt(t *testing.T) {
	of := map[string]string{"team": "a"}
	for name, c := range map[string]struct {
		before, after *v1alpha1.RunnerPool
		moves         bool
	}{
		"labels":  {poolOf("x", nil), poolOf("x", of), true},
		"taken":   {poolOf("", of), poolOf("x", of), true},
		"nothing": {poolOf("x", of), poolOf("x", of), false},
	} {
		if got := Moved().Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}); got != c.moves {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// No clock but the own is trusted: a lease has run out when it did not change for as long as it lasts.
func TestAManagerIsGoneWhenItsLeaseIsFreeOrRunsOut(t *testing.T) {
	ctx, clock := context.Background(), clocktesting.NewFakeClock(time.Now())
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "modal-runner-controller-b"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("pod"), LeaseDurationSeconds: ptr.To(int32(15)),
			// Its holder's clock is an hour behind.
			RenewTime: &metav1.MicroTime{Time: clock.Now().Add(-time.Hour)},
		},
	}
	cluster := fake.NewClientBuilder().WithObjects(lease).Build()
	holders := &Holders{Live: cluster, Clock: clock, Namespace: "system", Lasts: 10 * time.Second}
	gone := func(name string) bool {
		t.Helper()
		is, err := holders.Gone(ctx, name, 0)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	for range 3 {
		if gone(lease.Name) {
			t.Error("who renews its lease is gone")
		}
		clock.Step(14 * time.Second)
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(lease), lease); err != nil {
			t.Fatal(err)
		}
		lease.Spec.RenewTime = &metav1.MicroTime{Time: lease.Spec.RenewTime.Add(14 * time.Second)}
		if err := cluster.Update(ctx, lease); err != nil {
			t.Fatal(err)
		}
	}
	gone(lease.Name)
	clock.Step(15 * time.Second)
	if gone(lease.Name) {
		t.Error("gone before its lease has run out")
	}
	clock.Step(time.Second)
	if !gone(lease.Name) {
		t.Error("there although its lease has run out")
	}
	lease.Spec.HolderIdentity = ptr.To("")
	if err := cluster.Update(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if !gone(lease.Name) {
		t.Error("there although it has let its lease go")
	}
}

// A leader whose lease somebody deletes goes on, and makes it again when it would renew it.
func TestAManagerWhoseLeaseIsDeletedIsNotGoneAtOnce(t *testing.T) {
	ctx, clock := context.Background(), clocktesting.NewFakeClock(time.Now())
	holders := &Holders{Live: fake.NewClientBuilder().Build(), Clock: clock, Namespace: "system", Lasts: 15 * time.Second}
	for after := range 17 {
		gone, err := holders.Gone(ctx, "modal-runner-controller-a", 0)
		if err != nil {
			t.Fatal(err)
		}
		if gone != (after > 15) {
			t.Errorf("gone: %t after %d s", gone, after)
		}
		clock.Step(time.Second)
	}
	if whole, err := holders.Whole(ctx); whole || err != nil {
		t.Errorf("a manager that never was leads: %t, %v", whole, err)
	}
}

func TestAManagerIsGoneForAWhile(t *testing.T) {
	ctx, clock := context.Background(), clocktesting.NewFakeClock(time.Now())
	reads := 0
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: DefaultLease}}
	cluster := interceptor.NewClient(fake.NewClientBuilder().WithObjects(lease).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			reads++
			return c.Get(ctx, key, object, options...)
		},
	})
	holders := &Holders{Live: cluster, Clock: clock, Namespace: "system", Lasts: 15 * time.Second}
	gone := func(while time.Duration) bool {
		t.Helper()
		is, err := holders.Gone(ctx, lease.Name, while)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if !gone(0) || gone(time.Minute) {
		t.Error("its lease was let go just now")
	}
	clock.Step(time.Minute)
	if !gone(time.Minute) {
		t.Error("its lease was let go a minute ago")
	}
	for range 100 {
		gone(time.Minute)
	}
	if reads > 3 {
		t.Errorf("one lease was read %d times at once", reads)
	}
	if err := cluster.Get(ctx, client.ObjectKeyFromObject(lease), lease); err != nil {
		t.Fatal(err)
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = ptr.To("pod"), ptr.To(int32(15))
	if err := cluster.Update(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if gone(0) || gone(time.Minute) {
		t.Error("it leads again")
	}
	if whole, err := holders.Whole(ctx); !whole || err != nil {
		t.Errorf("it serves every pool: %t, %v", whole, err)
	}
}
