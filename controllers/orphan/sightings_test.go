package orphan

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const grace = 2 * time.Minute

func TestB43_AnOrphanIsDueInItsSecondListAfterTheGrace(t *testing.T) {
	var s sightings
	for _, test := range []struct {
		list time.Duration
		due  bool
	}{{0, false}, {0, false}, {time.Minute, false}, {grace - time.Second, false}, {grace, true}, {grace, true}, {time.Hour, true}} {
		if got := s.due("x", noon.Add(test.list), grace); got != test.due {
			t.Errorf("in the list of %v due is %v", test.list, got)
		}
	}
}

func TestB43_OneListHoweverOldIsNotEnough(t *testing.T) {
	var s sightings
	for range 100 {
		if s.due("x", noon, grace) {
			t.Fatal("one list was enough")
		}
	}
}

func TestB44_AListThatFailsResetsNoClockAndAnOldSightingCountsForNothing(t *testing.T) {
	var s sightings
	s.due("x", noon, grace)
	s.forget(noon.Add(-time.Second))
	if !s.due("x", noon.Add(grace), grace) {
		t.Error("the clock was reset")
	}
	s.forget(noon.Add(time.Hour))
	if s.due("x", noon.Add(2*time.Hour), grace) {
		t.Error("a sighting that was forgotten counted")
	}
}
