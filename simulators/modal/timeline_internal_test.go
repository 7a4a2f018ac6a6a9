package modal

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// What is due happens in the order of its time, then of its planning; what was cancelled does not.
func TestTimelineRunsWhatIsDueInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := NewWithT(t)
		fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
		line := newTimeline(fake)
		delays := rapid.SliceOfN(rapid.IntRange(0, 10), 0, 30).Draw(t, "delays")
		cancelled := map[int]bool{}
		var events []*event
		var ran []int
		for i, delay := range delays {
			events = append(events, line.after(time.Duration(delay)*time.Second, func() { ran = append(ran, i) }))
		}
		for i := range events {
			if rapid.Bool().Draw(t, "cancel") {
				line.cancel(events[i])
				line.cancel(events[i])
				cancelled[i] = true
			}
		}
		var want []int
		for second := range 11 {
			for i, delay := range delays {
				if delay == second && !cancelled[i] {
					want = append(want, i)
				}
			}
			line.settle()
			w.Expect(ran).To(Equal(want))
			fake.Step(time.Second)
		}
	})
}
