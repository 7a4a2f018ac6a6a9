package observe

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

var (
	one = types.NamespacedName{Namespace: "n", Name: "one"}
	two = types.NamespacedName{Namespace: "n", Name: "two"}
)

// lists with a fake clock, of a source that holds what the test puts into it.
func lists(t *testing.T) (*Lists[string], *clocktesting.FakeClock, map[string]string, *error) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	l := NewLists[string](time.Minute, clock)
	world, failure := map[string]string{}, new(error)
	list := func(context.Context) (map[string]string, error) {
		seen := map[string]string{}
		for k, v := range world {
			seen[k] = v
		}
		return seen, *failure
	}
	l.Track(one, "source", "a", list)
	l.Track(two, "source", "b", list)
	return l, clock, world, failure
}

// round lets the interval pass, lists what is due, and gives who was woken.
func round(t *testing.T, l *Lists[string], clock *clocktesting.FakeClock) map[types.NamespacedName]bool {
	t.Helper()
	clock.Step(time.Minute)
	l.Refresh(t.Context())
	woken := map[types.NamespacedName]bool{}
	for {
		select {
		case e := <-l.Wakes():
			woken[e.Object] = true
		default:
			return woken
		}
	}
}

func TestOnlyThoseWhoseItemChangedAreWoken(t *testing.T) {
	l, clock, world, _ := lists(t)
	world["a"], world["b"] = "idle", "idle"
	if woken := round(t, l, clock); !woken[one] || !woken[two] {
		t.Fatalf("the first list woke %v", woken)
	}
	if woken := round(t, l, clock); len(woken) != 0 {
		t.Fatalf("nothing had changed, and %v were woken", woken)
	}
	world["a"] = "busy"
	delete(world, "b")
	if woken := round(t, l, clock); !woken[one] || !woken[two] {
		t.Fatalf("a change and a loss woke %v", woken)
	}
	if _, found, _ := l.Get("source", "b"); found {
		t.Error("b is still found")
	}
}

func TestAnItemThatCameAndWentBetweenListsWakesItsObject(t *testing.T) {
	l, clock, _, _ := lists(t)
	if woken := round(t, l, clock); !woken[one] {
		t.Errorf("the first list woke %v", woken)
	}
}

// B44: an error removes nothing and resets no clock.
func TestAnErrorLeavesWhatIsKnown(t *testing.T) {
	l, clock, world, failure := lists(t)
	world["a"] = "idle"
	round(t, l, clock)
	_, _, before := l.Get("source", "a")
	*failure = errors.New("half a list")
	delete(world, "a")
	if woken := round(t, l, clock); len(woken) != 0 {
		t.Errorf("an error woke %v", woken)
	}
	state, found, after := l.Get("source", "a")
	if state != "idle" || !found || !after.Equal(before) {
		t.Errorf("after an error a is %q, found %v, listed at %v and not %v", state, found, after, before)
	}
}

func TestASourceThatNobodyTracksIsNotListed(t *testing.T) {
	l, clock, _, _ := lists(t)
	l.Untrack(one)
	l.Untrack(two)
	clock.Step(time.Hour)
	if due := l.due(); len(due) != 0 {
		t.Errorf("%d sources are due", len(due))
	}
}

func TestOwnerFollowsTheItemThatIsTracked(t *testing.T) {
	l, _, _, _ := lists(t)
	if owner, ok := l.Owner("a"); !ok || owner != one {
		t.Errorf("a is owned by %v", owner)
	}
	l.Track(one, "source", "c", nil)
	if _, ok := l.Owner("a"); ok {
		t.Error("a is still owned")
	}
	if owner, _ := l.Owner("c"); owner != one {
		t.Errorf("c is owned by %v", owner)
	}
}

func TestAKeptSourceIsListedSlowlyWhileNothingIsTracked(t *testing.T) {
	l, clock, world, _ := lists(t)
	world["x"] = "orphan"
	l.Keep("source", 5*time.Minute, nil)
	l.Untrack(one)
	l.Untrack(two)
	round(t, l, clock)
	items, first := l.Latest("source")
	if items["x"] != "orphan" {
		t.Fatalf("the list is %v", items)
	}
	for range 4 {
		round(t, l, clock)
	}
	if _, at := l.Latest("source"); !at.Equal(first) {
		t.Errorf("listed again after %v", at.Sub(first))
	}
	round(t, l, clock)
	if _, at := l.Latest("source"); !at.Equal(first.Add(5 * time.Minute)) {
		t.Errorf("listed again after %v", at.Sub(first))
	}
	l.Release("source")
	if _, at := l.Latest("source"); !at.IsZero() {
		t.Error("a source that was released is kept")
	}
}

func TestTrackingAtAKeptSourceListsItSoon(t *testing.T) {
	l, clock, _, _ := lists(t)
	l.Keep("source", time.Hour, nil)
	l.Untrack(one)
	l.Untrack(two)
	round(t, l, clock)
	_, before := l.Latest("source")
	l.Track(one, "source", "a", func(context.Context) (map[string]string, error) { return nil, nil })
	round(t, l, clock)
	if _, at := l.Latest("source"); !at.After(before) {
		t.Error("not listed soon")
	}
}
