package runnerpool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// runners of the given uses, in slots from 0 up.
func runners(uses ...use) []supply {
	var all []supply
	for slot, u := range uses {
		all = append(all, supply{name: fmt.Sprintf("p-%d", slot), slot: slot, use: u, since: noon.Add(-time.Hour)})
	}
	return all
}

// queue of jobs that want a runner of the pool's own size, since noon or so long after it.
func queue(count int, after ...time.Duration) []waiting {
	job := waiting{since: noon}
	if len(after) > 0 {
		job.since = noon.Add(after[0])
	}
	return slices.Repeat([]waiting{job}, count)
}

// asking makes jobs ask for what is named.
func asking(measured string, jobs []waiting) []waiting {
	for i := range jobs {
		jobs[i].measured = measured
	}
	return jobs
}

// made for what is named.
func made(measured string, all []supply) []supply {
	for i := range all {
		all[i].measured = measured
	}
	return all
}

// slots of what is created, each followed by a colon and the measure if there is one.
func slots(all []creation) []string {
	var texts []string
	for _, c := range all {
		text := fmt.Sprint(c.slot)
		if c.measured != "" {
			text += ":" + c.measured
		}
		texts = append(texts, text)
	}
	return texts
}

// fresh makes runners idle since a moment ago.
func fresh(all []supply) []supply {
	for i := range all {
		all[i].since = noon
	}
	return all
}

// old makes runners outdated.
func old(all []supply) []supply {
	for i := range all {
		all[i].outdated = true
	}
	return all
}

func TestPlan(t *testing.T) {
	for name, test := range map[string]struct {
		situation
		create []string
		retire []string
	}{
		"one queued job gets one runner":                        {situation{limit: 5, waiting: queue(1)}, []string{"0"}, nil},
		"B02: no more than the limit":                           {situation{limit: 3, waiting: queue(20)}, []string{"0", "1", "2"}, nil},
		"B02: the rest as slots free up":                        {situation{limit: 3, waiting: queue(19), runners: runners(busy, busy)}, []string{"2"}, nil},
		"B01: a runner on its way is enough":                    {situation{limit: 5, waiting: queue(1), runners: runners(pending)}, nil, nil},
		"a booting runner is enough":                            {situation{limit: 5, waiting: queue(1), runners: runners(starting)}, nil, nil},
		"an idle runner is enough":                              {situation{limit: 5, waiting: queue(1), runners: runners(idle)}, nil, nil},
		"B06: a runner that took another job is not enough":     {situation{limit: 5, waiting: queue(1), runners: runners(busy)}, []string{"1"}, nil},
		"a leaving runner is not enough and holds its slot":     {situation{limit: 2, waiting: queue(3), runners: runners(leaving)}, []string{"1"}, nil},
		"the lowest free slots":                                 {situation{limit: 5, waiting: queue(3), runners: []supply{{slot: 1, use: busy}}}, []string{"0", "2", "3"}, nil},
		"a dead runner holds its name and no place":             {situation{limit: 1, waiting: queue(1), runners: runners(dead)}, []string{"1"}, nil},
		"dead runners make no room beyond the limit":            {situation{limit: 2, waiting: queue(5), runners: runners(dead, busy, dead)}, []string{"3"}, nil},
		"B30: warm runners beyond the queue":                    {situation{limit: 9, waiting: queue(1), minIdle: 2, runners: runners(starting)}, []string{"1", "2"}, nil},
		"B30: warm runners never past the limit":                {situation{limit: 2, waiting: queue(1), minIdle: 5, runners: runners(busy)}, []string{"1"}, nil},
		"B30: a booting warm runner is counted":                 {situation{limit: 9, minIdle: 1, runners: runners(starting)}, nil, nil},
		"B30: warm runners stay, those beyond go":               {situation{limit: 9, minIdle: 1, runners: runners(idle, idle)}, nil, []string{"p-1"}},
		"B72: suspended, whoever has no job goes":               {situation{suspended: true, limit: 9, waiting: queue(3), minIdle: 1, runners: runners(pending, starting, idle, busy, leaving)}, nil, []string{"p-0", "p-1", "p-2"}},
		"drift: outdated runners are replaced, busy ones not":   {situation{limit: 9, waiting: queue(2), runners: old(runners(idle, starting, busy))}, []string{"3", "4"}, []string{"p-0", "p-1"}},
		"drift: outdated surplus goes at once":                  {situation{limit: 9, runners: old(runners(starting))}, nil, []string{"p-0"}},
		"drift: at the limit the outdated go first":             {situation{limit: 1, waiting: queue(2), runners: old(runners(idle))}, nil, []string{"p-0"}},
		"B28: while runners fail to start one is made":          {situation{limit: 9, waiting: queue(4), probing: true}, []string{"0"}, nil},
		"B28: while one tries no other is made":                 {situation{limit: 9, waiting: queue(4), probing: true, runners: runners(pending)}, nil, nil},
		"an idle runner that leaves a job waiting is replaced":  {situation{limit: 9, waiting: queue(1, -deafTimeout), runners: runners(idle)}, []string{"1"}, []string{"p-0"}},
		"an idle runner has time to take a job":                 {situation{limit: 9, waiting: queue(1, 1-deafTimeout), runners: runners(idle)}, nil, nil},
		"a job with a wish gets a runner of its own":            {situation{limit: 9, waiting: asking("gpu", queue(1)), runners: fresh(runners(idle))}, []string{"1:gpu"}, nil},
		"a runner made for a wish is there for no other job":    {situation{limit: 9, waiting: queue(1), runners: made("gpu", runners(starting))}, []string{"1"}, nil},
		"a runner made for a wish is enough for it":             {situation{limit: 9, waiting: asking("gpu", queue(1)), runners: made("gpu", runners(starting))}, nil, nil},
		"wishes are served in the order of arrival":             {situation{limit: 2, waiting: slices.Concat(queue(1), asking("gpu", queue(1)), queue(5))}, []string{"0", "1:gpu"}, nil},
		"a wish's runner whose job is gone goes":                {situation{limit: 9, waiting: queue(1), runners: slices.Concat(made("gpu", runners(idle)), []supply{{name: "p-1", slot: 1, use: starting}})}, nil, []string{"p-0"}},
		"at the limit spare runners make room for a wish":       {situation{limit: 1, waiting: asking("gpu", queue(1)), runners: fresh(runners(idle))}, nil, []string{"p-0"}},
		"at the limit warm runners make room for a wish":        {situation{limit: 1, minIdle: 1, waiting: asking("gpu", queue(1)), runners: fresh(runners(idle))}, nil, []string{"p-0"}},
		"warm runners stay while there is room":                 {situation{limit: 2, minIdle: 1, waiting: asking("gpu", queue(1)), runners: fresh(runners(idle))}, []string{"1:gpu"}, nil},
		"an idle runner is not deaf to a wish":                  {situation{limit: 9, minIdle: 1, waiting: asking("gpu", queue(1, -deafTimeout)), runners: runners(idle)}, []string{"1:gpu"}, nil},
		"I7: while others fail to start a wish is served":       {situation{limit: 9, probing: true, waiting: slices.Concat(queue(2), asking("gpu", queue(2))), runners: runners(pending)}, []string{"1:gpu", "2:gpu"}, nil},
		"I7: a wish that never starts keeps no other waiting":   {situation{limit: 9, probing: true, waiting: slices.Concat(asking("gpu", queue(1)), queue(1)), runners: made("gpu", runners(pending))}, []string{"1"}, nil},
		"an outdated runner that goes makes room by itself":     {situation{limit: 2, minIdle: 1, waiting: asking("gpu", queue(1)), runners: []supply{{name: "p-0", use: idle, since: noon, outdated: true}, {name: "p-1", slot: 1, use: idle, since: noon}}}, nil, []string{"p-0"}},
		"limit 0 starts none":                                   {situation{waiting: queue(3)}, nil, nil},
		"B07: surplus that is idle goes":                        {situation{limit: 5, runners: runners(idle, busy)}, nil, []string{"p-0"}},
		"B07: surplus without a sandbox goes":                   {situation{limit: 5, waiting: queue(1), runners: runners(pending, idle)}, nil, []string{"p-0"}},
		"surplus that is starting may still be of use":          {situation{limit: 5, runners: runners(starting)}, nil, nil},
		"B31: lowered below what runs, nothing busy goes":       {situation{limit: 1, waiting: queue(4), runners: runners(busy, busy, busy)}, nil, nil},
		"B31: lowered, what has no job goes":                    {situation{limit: 1, waiting: queue(4), runners: runners(busy, idle, starting)}, nil, []string{"p-2", "p-1"}},
		"B31: lowered, those leaving already count":             {situation{limit: 1, runners: runners(busy, leaving, starting)}, nil, []string{"p-2"}},
		"above the limit nothing is made though a slot is free": {situation{limit: 2, waiting: queue(4), runners: []supply{{slot: 5, use: busy}, {slot: 6, use: busy}}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.now, test.open, test.idleTimeout = noon, true, time.Minute
			got := plan(test.situation)
			if !slices.Equal(slots(got.create), test.create) || !slices.Equal(got.retire, test.retire) {
				t.Errorf("created %v and retired %v, want %v and %v", got.create, got.retire, test.create, test.retire)
			}
		})
	}
}

func TestPlanMakesNothingWhileThePoolIsNotReady(t *testing.T) {
	if got := plan(situation{limit: 3, waiting: queue(2)}); got.create != nil {
		t.Errorf("created %v", got.create)
	}
}

func TestPlanKeepsOutdatedRunnersWhileNoneCanBeMade(t *testing.T) {
	if got := plan(situation{limit: 3, waiting: queue(1), runners: old(runners(idle))}); got.retire != nil {
		t.Errorf("retired %v", got.retire)
	}
}

func TestPlanLooksAgainWhenARunnerWillBeTooOld(t *testing.T) {
	s := situation{now: noon, open: true, limit: 2, minIdle: 1,
		runners: []supply{{name: "p-0", use: idle, since: noon, outdatedAt: noon.Add(time.Hour)}}}
	if got := plan(s); got.retire != nil || !got.again.Equal(noon.Add(time.Hour)) {
		t.Errorf("retired %v and looks again at %v", got.retire, got.again)
	}
}

func TestPlanKeepsAnIdleRunnerForTheIdleTimeout(t *testing.T) {
	s := situation{now: noon, open: true, limit: 2, idleTimeout: time.Minute,
		runners: []supply{{name: "p-0", use: idle, since: noon.Add(-30 * time.Second)}}}
	got := plan(s)
	if got.retire != nil || !got.again.Equal(noon.Add(30*time.Second)) {
		t.Fatalf("retired %v and looks again at %v", got.retire, got.again)
	}
	s.now = got.again
	if got := plan(s); !slices.Equal(got.retire, []string{"p-0"}) {
		t.Errorf("retired %v after the timeout", got.retire)
	}
}

func TestPlanTakesAnUnexplainedBusyRunnerForOneQueuedJobForAWhile(t *testing.T) {
	s := situation{now: noon, open: true, limit: 2, waiting: queue(1),
		runners: []supply{{name: "p-0", use: busy, since: noon, unexplained: true}}}
	got := plan(s)
	if got.create != nil || !got.again.Equal(noon.Add(explainGrace)) {
		t.Fatalf("created %v and looks again at %v", got.create, got.again)
	}
	s.now = got.again
	if got := plan(s); !slices.Equal(slots(got.create), []string{"1"}) {
		t.Errorf("created %v after the grace", got.create)
	}
}

func anySituation(t *rapid.T) situation {
	s := situation{
		now: noon, open: rapid.Bool().Draw(t, "open"), idleTimeout: time.Minute,
		limit: rapid.IntRange(0, 20).Draw(t, "limit"), minIdle: rapid.IntRange(0, 5).Draw(t, "minIdle"),
		probing: rapid.Bool().Draw(t, "probing"), suspended: rapid.IntRange(0, 9).Draw(t, "suspended") == 0,
	}
	measure := rapid.SampledFrom([]string{"", "", "", "gpu", "cpu"})
	for range rapid.IntRange(0, 40).Draw(t, "queued") {
		s.waiting = append(s.waiting, waiting{measured: measure.Draw(t, "wish"), since: noon})
	}
	slots := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 0, 25, rapid.ID[int]).Draw(t, "slots")
	for _, slot := range slots {
		s.runners = append(s.runners, supply{
			name: fmt.Sprintf("p-%d", slot), slot: slot, measured: measure.Draw(t, "measured"),
			use:         use(rapid.IntRange(int(pending), int(dead)).Draw(t, "use")),
			since:       noon.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "since")) * time.Second),
			unexplained: rapid.Bool().Draw(t, "unexplained"),
			outdated:    rapid.IntRange(0, 4).Draw(t, "outdated") == 0,
		})
	}
	return s
}

// tally of a situation, reckoned in another way than plan does.
type tally struct {
	holding, unused   int
	wanted            map[string]int
	waiting, covering map[string]int
}

func tallyOf(s situation) tally {
	c := tally{wanted: map[string]int{"": s.minIdle}, waiting: map[string]int{}, covering: map[string]int{}}
	for _, job := range s.waiting {
		c.wanted[job.measured]++
	}
	for _, r := range s.runners {
		if r.use != dead {
			c.holding++
		}
		switch {
		case r.use <= idle && r.outdated && s.open:
			c.unused++
		case r.use <= idle:
			c.unused++
			c.waiting[r.measured]++
		case r.use == busy && r.unexplained && s.now.Sub(r.since) < explainGrace:
			c.covering[r.measured]++
		}
	}
	return c
}

// TestPlanProperties states what must hold of every decision (I1, I2, I4).
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySituation(t)
		d := plan(s)
		c := tallyOf(s)
		byName, taken := map[string]supply{}, map[int]bool{}
		for _, r := range s.runners {
			byName[r.name], taken[r.slot] = r, true
		}
		created, retired := map[string]int{}, map[string]int{}
		if total := c.holding + len(d.create); len(d.create) > 0 && total > s.limit {
			t.Fatalf("%d Runners over a limit of %d", total, s.limit)
		}
		for _, made := range d.create {
			if made.slot < 0 || made.slot >= s.limit+len(s.runners)-c.holding || taken[made.slot] {
				t.Fatalf("slot %d is taken or beyond the limit", made.slot)
			}
			taken[made.slot] = true
			created[made.measured]++
		}
		for _, name := range d.retire {
			r, ok := byName[name]
			if !ok || r.use > idle {
				t.Fatalf("retired %q, which is not an unused Runner", name)
			}
			if !r.outdated || !s.open {
				retired[r.measured]++
			}
			delete(byName, name)
		}
		switch {
		case s.suspended && (len(d.create) > 0 || len(d.retire) != c.unused):
			t.Fatal("suspended, it made runners or kept unused ones")
		case s.suspended:
			return
		case s.probing && created[""] > 1:
			t.Fatal("made more than one to probe with")
		}
		full := c.holding+len(d.create) >= s.limit
		for _, measured := range []string{"", "gpu", "cpu"} {
			have := c.waiting[measured] + c.covering[measured]
			if created[measured] > max(0, c.wanted[measured]-have) {
				t.Fatalf("created more than is needed of %q", measured)
			}
			if s.open && (!s.probing || measured != "") && have+created[measured] < c.wanted[measured] && !full {
				t.Fatalf("a queued job waits for %q while there is capacity", measured)
			}
			needed := c.wanted[measured]
			if full && measured == "" {
				// A job that waits comes before a warm runner.
				needed -= s.minIdle
			}
			if c.holding <= s.limit && c.waiting[measured]-retired[measured] < min(c.waiting[measured], needed-c.covering[measured]) {
				t.Fatalf("retired a runner of %q that is needed", measured)
			}
			if created[measured] > 0 && retired[measured] > 0 {
				t.Fatalf("created and retired %q at once", measured)
			}
		}
	})
}

// TestPlanConverges applies decisions until they are empty: it must not flap.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySituation(t)
		for range 4 {
			d := plan(s)
			if len(d.create) == 0 && len(d.retire) == 0 {
				return
			}
			for _, made := range d.create {
				s.runners = append(s.runners, supply{name: fmt.Sprintf("p-%d", made.slot), slot: made.slot, measured: made.measured, use: pending, since: s.now})
			}
			s.runners = slices.DeleteFunc(s.runners, func(r supply) bool { return slices.Contains(d.retire, r.name) })
		}
		t.Fatalf("no rest after four rounds: %+v", plan(s))
	})
}
