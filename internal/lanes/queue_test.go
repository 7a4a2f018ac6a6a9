package lanes

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWhoFindsNoRoomIsWokenInTurn(t *testing.T) {
	var woken []string
	q := NewQueues(1, func(item string) { woken = append(woken, item) })
	if !q.Enter("lane", "a") || q.Enter("lane", "b") || q.Enter("lane", "c") || q.Enter("lane", "b") {
		t.Fatal("a lane of one took another number than one")
	}
	if !q.Enter("other", "d") {
		t.Fatal("a full lane closed another")
	}
	q.Leave("lane")
	if !slices.Equal(woken, []string{"b"}) {
		t.Fatalf("%v were woken, not the first in line", woken)
	}
	// It is gone: its turn is the next one's.
	q.Drop("b")
	if !slices.Equal(woken, []string{"b", "c"}) || !q.Enter("lane", "c") {
		t.Fatalf("%v were woken", woken)
	}
	q.Leave("lane")
	q.Leave("other")
	if len(q.lanes)+len(q.of) != 0 {
		t.Errorf("%v and %v are kept of empty lanes", q.lanes, q.of)
	}
}

// Whatever comes in whatever order: no lane has more than its width, and while somebody waits, there is no room or somebody was
// woken who has not come back.
func TestNobodyIsForgottenInLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const width = 2
		woken, inside, waiting := map[int]bool{}, []int{}, map[int]bool{}
		q := NewQueues(width, func(item int) { woken[item] = true })
		leave := func(i int) {
			inside = slices.Delete(inside, i, i+1)
			q.Leave("lane")
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			item := rapid.IntRange(0, 9).Draw(t, "item")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				if slices.Contains(inside, item) {
					continue
				}
				delete(woken, item)
				if waiting[item] = !q.Enter("lane", item); !waiting[item] {
					inside = append(inside, item)
				}
			case 2:
				if len(inside) > 0 {
					leave(item % len(inside))
				}
			case 3:
				if !slices.Contains(inside, item) {
					delete(woken, item)
					waiting[item] = false
					q.Drop(item)
				}
			}
			for item := range woken {
				waiting[item] = false
			}
			waits := 0
			for _, yes := range waiting {
				if yes {
					waits++
				}
			}
			if len(inside) > width || waits > 0 && len(inside) < width && len(woken) == 0 {
				t.Fatalf("%d inside, %d wait, %d were woken", len(inside), waits, len(woken))
			}
		}
	})
}
