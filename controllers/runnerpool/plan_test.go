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
		create []int
		retire []string
	}{
		"one queued job gets one runner":                        {situation{limit: 5, queued: 1}, []int{0}, nil},
		"B02: no more than the limit":                           {situation{limit: 3, queued: 20}, []int{0, 1, 2}, nil},
		"B02: the rest as slots free up":                        {situation{limit: 3, queued: 19, runners: runners(busy, busy)}, []int{2}, nil},
		"B01: a runner on its way is enough":                    {situation{limit: 5, queued: 1, runners: runners(pending)}, nil, nil},
		"a booting runner is enough":                            {situation{limit: 5, queued: 1, runners: runners(starting)}, nil, nil},
		"an idle runner is enough":                              {situation{limit: 5, queued: 1, runners: runners(idle)}, nil, nil},
		"B06: a runner that took another job is not enough":     {situation{limit: 5, queued: 1, runners: runners(busy)}, []int{1}, nil},
		"a leaving runner is not enough and holds its slot":     {situation{limit: 2, queued: 3, runners: runners(leaving)}, []int{1}, nil},
		"the lowest free slots":                                 {situation{limit: 5, queued: 3, runners: []supply{{slot: 1, use: busy}}}, []int{0, 2, 3}, nil},
		"a dead runner holds its name and no place":             {situation{limit: 1, queued: 1, runners: runners(dead)}, []int{1}, nil},
		"dead runners make no room beyond the limit":            {situation{limit: 2, queued: 5, runners: runners(dead, busy, dead)}, []int{3}, nil},
		"B30: warm runners beyond the queue":                    {situation{limit: 9, queued: 1, minIdle: 2, runners: runners(starting)}, []int{1, 2}, nil},
		"B30: warm runners never past the limit":                {situation{limit: 2, queued: 1, minIdle: 5, runners: runners(busy)}, []int{1}, nil},
		"B30: a booting warm runner is counted":                 {situation{limit: 9, minIdle: 1, runners: runners(starting)}, nil, nil},
		"B30: warm runners stay, those beyond go":               {situation{limit: 9, minIdle: 1, runners: runners(idle, idle)}, nil, []string{"p-1"}},
		"B72: suspended, whoever has no job goes":               {situation{suspended: true, limit: 9, queued: 3, minIdle: 1, runners: runners(pending, starting, idle, busy, leaving)}, nil, []string{"p-0", "p-1", "p-2"}},
		"drift: outdated runners are replaced, busy ones not":   {situation{limit: 9, queued: 2, runners: old(runners(idle, starting, busy))}, []int{3, 4}, []string{"p-0", "p-1"}},
		"drift: outdated surplus goes at once":                  {situation{limit: 9, runners: old(runners(starting))}, nil, []string{"p-0"}},
		"drift: at the limit the outdated go first":             {situation{limit: 1, queued: 2, runners: old(runners(idle))}, nil, []string{"p-0"}},
		"B28: while runners fail to start one is made":          {situation{limit: 9, queued: 4, probing: true}, []int{0}, nil},
		"B28: while one tries no other is made":                 {situation{limit: 9, queued: 4, probing: true, runners: runners(pending)}, nil, nil},
		"an idle runner that leaves a job waiting is replaced":  {situation{limit: 9, queued: 1, waitingSince: noon.Add(-deafTimeout), runners: runners(idle)}, []int{1}, []string{"p-0"}},
		"an idle runner has time to take a job":                 {situation{limit: 9, queued: 1, waitingSince: noon.Add(1 - deafTimeout), runners: runners(idle)}, nil, nil},
		"limit 0 starts none":                                   {situation{queued: 3}, nil, nil},
		"B07: surplus that is idle goes":                        {situation{limit: 5, runners: runners(idle, busy)}, nil, []string{"p-0"}},
		"B07: surplus without a sandbox goes":                   {situation{limit: 5, queued: 1, runners: runners(pending, idle)}, nil, []string{"p-0"}},
		"surplus that is starting may still be of use":          {situation{limit: 5, runners: runners(starting)}, nil, nil},
		"B31: lowered below what runs, nothing busy goes":       {situation{limit: 1, queued: 4, runners: runners(busy, busy, busy)}, nil, nil},
		"B31: lowered, what has no job goes":                    {situation{limit: 1, queued: 4, runners: runners(busy, idle, starting)}, nil, []string{"p-2", "p-1"}},
		"B31: lowered, those leaving already count":             {situation{limit: 1, runners: runners(busy, leaving, starting)}, nil, []string{"p-2"}},
		"above the limit nothing is made though a slot is free": {situation{limit: 2, queued: 4, runners: []supply{{slot: 5, use: busy}, {slot: 6, use: busy}}}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.now, test.open, test.idleTimeout = noon, true, time.Minute
			got := plan(test.situation)
			if !slices.Equal(got.create, test.create) || !slices.Equal(got.retire, test.retire) {
				t.Errorf("created %v and retired %v, want %v and %v", got.create, got.retire, test.create, test.retire)
			}
		})
	}
}

func TestPlanMakesNothingWhileThePoolIsNotReady(t *testing.T) {
	if got := plan(situation{limit: 3, queued: 2}); got.create != nil {
		t.Errorf("created %v", got.create)
	}
}

func TestPlanKeepsOutdatedRunnersWhileNoneCanBeMade(t *testing.T) {
	if got := plan(situation{limit: 3, queued: 1, runners: old(runners(idle))}); got.retire != nil {
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
	s := situation{now: noon, open: true, limit: 2, queued: 1,
		runners: []supply{{name: "p-0", use: busy, since: noon, unexplained: true}}}
	got := plan(s)
	if got.create != nil || !got.again.Equal(noon.Add(explainGrace)) {
		t.Fatalf("created %v and looks again at %v", got.create, got.again)
	}
	s.now = got.again
	if got := plan(s); !slices.Equal(got.create, []int{1}) {
		t.Errorf("created %v after the grace", got.create)
	}
}

func anySituation(t *rapid.T) situation {
	s := situation{
		now: noon, open: rapid.Bool().Draw(t, "open"), idleTimeout: time.Minute,
		limit: rapid.IntRange(0, 20).Draw(t, "limit"), queued: rapid.IntRange(0, 40).Draw(t, "queued"),
		minIdle: rapid.IntRange(0, 5).Draw(t, "minIdle"), probing: rapid.Bool().Draw(t, "probing"),
		suspended: rapid.IntRange(0, 9).Draw(t, "suspended") == 0,
	}
	slots := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 0, 25, rapid.ID[int]).Draw(t, "slots")
	for _, slot := range slots {
		s.runners = append(s.runners, supply{
			name: fmt.Sprintf("p-%d", slot), slot: slot,
			use:         use(rapid.IntRange(int(pending), int(dead)).Draw(t, "use")),
			since:       noon.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "since")) * time.Second),
			unexplained: rapid.Bool().Draw(t, "unexplained"),
			outdated:    rapid.IntRange(0, 4).Draw(t, "outdated") == 0,
		})
	}
	return s
}

// TestPlanProperties states what must hold of every decision (I1, I2, I4).
func TestPlanProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySituation(t)
		d := plan(s)
		byName, taken := map[string]supply{}, map[int]bool{}
		waiting, outdated, covering, holding := 0, 0, 0, 0
		for _, r := range s.runners {
			byName[r.name], taken[r.slot] = r, true
			if r.use != dead {
				holding++
			}
			switch {
			case r.use <= idle && r.outdated && s.open:
				outdated++
			case r.use <= idle:
				waiting++
			case r.use == busy && r.unexplained && s.now.Sub(r.since) < explainGrace:
				covering++
			}
		}
		if total := holding + len(d.create); len(d.create) > 0 && total > s.limit {
			t.Fatalf("%d Runners over a limit of %d", total, s.limit)
		}
		for _, slot := range d.create {
			if slot < 0 || slot >= s.limit+len(s.runners)-holding || taken[slot] {
				t.Fatalf("slot %d is taken or beyond the limit", slot)
			}
			taken[slot] = true
		}
		retired := 0
		for _, name := range d.retire {
			r, ok := byName[name]
			if !ok || r.use > idle {
				t.Fatalf("retired %q, which is not an unused Runner", name)
			}
			if !r.outdated || !s.open {
				retired++
			}
			delete(byName, name)
		}
		wanted := s.queued + s.minIdle
		switch {
		case s.suspended && (len(d.create) > 0 || len(d.retire) != waiting+outdated):
			t.Fatal("suspended, it made runners or kept unused ones")
		case s.suspended:
			return
		case len(d.create) > 0 && retired > 0:
			t.Fatal("created and retired at once")
		case s.probing && len(d.create) > 1:
			t.Fatal("made more than one to probe with")
		case len(d.create) > max(0, wanted-waiting-covering):
			t.Fatal("created more than is needed")
		}
		served := waiting + covering + len(d.create)
		if s.open && !s.probing && served < wanted && holding+len(d.create) < s.limit {
			t.Fatal("a queued job waits while there is capacity")
		}
		if holding <= s.limit && waiting-retired < min(waiting, wanted-covering) {
			t.Fatal("retired a runner that is needed")
		}
	})
}

// TestPlanConverges applies decisions until they are empty: it must not flap.
func TestPlanConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySituation(t)
		for range 3 {
			d := plan(s)
			if len(d.create) == 0 && len(d.retire) == 0 {
				return
			}
			for _, slot := range d.create {
				s.runners = append(s.runners, supply{name: fmt.Sprintf("p-%d", slot), slot: slot, use: pending, since: s.now})
			}
			s.runners = slices.DeleteFunc(s.runners, func(r supply) bool { return slices.Contains(d.retire, r.name) })
		}
		t.Fatalf("no rest after three rounds: %+v", plan(s))
	})
}
