package ingress

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/modalrunner/modal-runner-controller/internal/github"
)

const (
	// healBack is how far back failed deliveries are looked for: a self-hosted job waits in GitHub's queue for 24 h.
	healBack = 24 * time.Hour
	// healOverlap is looked at again in the next pass, since deliveries show with a delay.
	healOverlap = 10 * time.Minute
	// healAttempts is how often a delivery is asked for again, with waits that double: with the default interval over two and a
	// half hours. One that fails that often finds no receiver that wants it.
	healAttempts = 6
	// forgetFailing is how long after it was last seen a failing delivery is remembered: GitHub keeps deliveries for as long.
	forgetFailing = 3 * 24 * time.Hour
)

// healing is what is known of one source from one pass to the next.
type healing struct {
	// seenTo is the time up to which deliveries were looked at.
	seenTo time.Time
	// left are the parts of the list that were too long for a pass.
	left []part
	// failing are the deliveries that did not go well at first, by GUID. Those that are given up and those that went well since
	// are kept, so that they are not begun anew when a list shows an earlier attempt.
	failing map[string]*failing
}

// part of a source's list of deliveries: from a cursor back to a time.
type part struct {
	cursor string
	since  time.Time
}

type failing struct {
	// attempt is the ID of the latest.
	attempt int64
	good    bool
	// asked is how often it was asked for again, and due when it may be the next time.
	asked int
	due   time.Time
	seen  time.Time
}

// fresh is the part that was not looked at yet.
func (h *healing) fresh(now time.Time) part {
	since := now.Add(-healBack)
	if seen := h.seenTo.Add(-healOverlap); seen.After(since) {
		since = seen
	}
	return part{since: since}
}

// note deliveries, the latest first. How often one was asked for before the controller was started is told by its attempts.
func (h *healing) note(deliveries []github.Delivery, now time.Time) {
	if h.failing == nil {
		h.failing = map[string]*failing{}
	}
	again := map[string]int{}
	for _, d := range deliveries {
		f := h.failing[d.GUID]
		if f == nil {
			if d.Good && !d.Again {
				continue
			}
			f = &failing{}
			h.failing[d.GUID] = f
		}
		if d.Again {
			again[d.GUID]++
		}
		f.attempt, f.good, f.asked, f.seen = max(f.attempt, d.ID), f.good || d.Good, max(f.asked, again[d.GUID]), now
	}
	maps.DeleteFunc(h.failing, func(_ string, f *failing) bool { return now.Sub(f.seen) > forgetFailing })
}

// due are the GUIDs of the deliveries to ask for now, the oldest first.
func (h *healing) due(now time.Time) []string {
	var due []string
	for guid, f := range h.failing {
		if !f.good && f.asked < healAttempts && !f.due.After(now) {
			due = append(due, guid)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return cmp.Compare(h.failing[a].attempt, h.failing[b].attempt) })
	return due
}

// askedAt notes that it was asked for again.
func (f *failing) askedAt(now time.Time, interval time.Duration) {
	f.due = now.Add(interval << f.asked)
	f.asked++
	f.seen = now
}

// giveUp a delivery that GitHub does not have any more.
func (f *failing) giveUp() { f.asked = healAttempts }
