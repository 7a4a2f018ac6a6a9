package runnerpool

import (
	"slices"
	"time"
)

// Planning decides how many Runners a pool has. It sizes by counts: a job is not bound to the runner that was made for
// it, any matching runner may take it.

// demand of a pool and the supply it has.
type situation struct {
	now time.Time
	// limit of Runners (maxConcurrency).
	limit int
	// open is false while no Runner may be made: something about the pool is not ready.
	open bool
	// suspended: runners that have no job go, and none is made.
	suspended bool
	// probing: runners fail to start, and at most one that has no sandbox may be there to try.
	probing bool
	// waiting jobs, in the order of their arrival.
	waiting []waiting
	// labels of a job that asks for each measure; those of the pool for none.
	labels map[string][]string
	// minIdle runners are kept ready beyond that.
	minIdle int
	// idleTimeout is how long a runner that no job needs stays.
	idleTimeout time.Duration
	// runners that exist, whatever they do.
	runners []supply
}

// waiting is one job that waits for a runner.
type waiting struct {
	// measured names what the job asks for by its wishes; empty for a runner of the pool's own size. Only runners of the same
	// name count for it: GitHub may give the job to others, but the pool does not make it wait for that.
	measured string
	since    time.Time
	// job is the name of its WorkflowJob.
	job string
}

// use that planning can make of a Runner.
type use int

const (
	// pending: made, with no sandbox yet.
	pending use = iota
	// starting: its sandbox is alive, its runner not online yet.
	starting
	// idle: online, without a job.
	idle
	// busy with a job.
	busy
	// leaving: being deleted, or done with its job. It only holds its slot.
	leaving
	// dead: its sandbox has ended for good and GitHub does not let its registration go yet. It holds nothing but its name.
	dead
)

// supply is one Runner.
type supply struct {
	name string
	slot int
	use  use
	// measured names the wishes that it was made for, as for jobs.
	measured string
	// since when an idle runner has been idle, or a busy one busy.
	since time.Time
	// unexplained is true for a busy runner whose job is not known yet.
	unexplained bool
	// outdated: it is not what the pool would make now, or too old to take a job, or has tried too often. It is replaced
	// unless it is busy.
	outdated bool
	// outdatedAt is when it will be by time alone; zero for never.
	outdatedAt time.Time
}

// decision of the plan.
type decision struct {
	// create Runners.
	create []creation
	// retire Runners of these names.
	retire []string
	// again is when a decision may change by time alone; zero when it does not.
	again time.Time
}

// creation of a Runner.
type creation struct {
	// job that it is made for, by the name of its WorkflowJob; empty for a warm runner.
	job      string
	slot     int
	measured string
}

// explainGrace is how long a runner that is busy with a job not known yet is taken to have one of the queued jobs: GitHub
// assigns a job before it tells of it. After that the queued jobs are believed to be queued still: webhooks have been seen
// two minutes late, but one runner too many costs less than a job that waits for so long.
const explainGrace = 30 * time.Second

// deafTimeout is how long an idle runner may leave a job waiting that it could take. One that does is replaced, so that no
// job waits for a runner that never asks for one. There is still no more than one runner for each queued job.
const deafTimeout = 3 * time.Minute

// deaf says whether an idle runner has left a job waiting for too long, and if not when it will have.
func (s situation) deaf(r supply) (is bool, at time.Time) {
	first := slices.IndexFunc(s.waiting, func(job waiting) bool { return job.measured == r.measured })
	if r.use != idle || first < 0 {
		return false, time.Time{}
	}
	at = s.waiting[first].since.Add(deafTimeout)
	if r.since.After(s.waiting[first].since) {
		at = r.since.Add(deafTimeout)
	}
	return !s.now.Before(at), at
}

// plan is a pure function. It never creates beyond the limit, whatever the Runners do; it never retires a busy one; and
// of those that are starting it retires only what the pool would not have at all: above the limit, outdated, suspended.
func plan(s situation) decision {
	if s.suspended {
		return decision{retire: s.unused(func(supply) bool { return true })}
	}
	var d decision
	s = s.withoutDeaf(&d)
	holding := 0
	for _, r := range s.runners {
		if r.use != dead {
			holding++
		}
	}
	room := s.limit - holding
	if s.open {
		// While none can be made, an outdated runner is better than none.
		d.retire = s.unused(func(r supply) bool { return r.outdated })
	}
	missing, spare, warm := s.balance(s.usable(&d), room+len(d.retire))
	switch {
	case room < 0:
		d.retire = s.retireExcess(-room, d.retire, spare)
		return d
	case s.open:
		d.create = s.create(missing, warm, room)
	}
	// Those that go anyway make room too.
	s.retireSpare(&d, spare, s.short(missing, room+len(d.retire)))
	return d
}

// usable runners by what they were made for: those that can take a job that waits, or seem to have taken one.
func (s situation) usable(d *decision) map[string]int {
	usable := map[string]int{}
	for _, r := range s.runners {
		switch {
		case r.use <= idle:
			if s.open && r.outdated {
				continue
			}
			usable[r.measured]++
			if !r.outdatedAt.IsZero() {
				d.wakeAt(r.outdatedAt)
			}
		case r.use == busy && r.unexplained:
			if expires := r.since.Add(explainGrace); expires.After(s.now) {
				usable[r.measured]++
				d.wakeAt(expires)
			}
		}
	}
	return usable
}

// balance supply against demand: the jobs that no usable runner is there for, in the order of their arrival, and how many
// runners are there for no job, by what they were made for. Of these, warm ones are missing, or kept: not spare.
func (s situation) balance(usable map[string]int, room int) (missing []waiting, spare map[string]int, warm int) {
	for _, job := range s.waiting {
		if usable[job.measured] > 0 {
			usable[job.measured]--
		} else {
			missing = append(missing, job)
		}
	}
	// A job that waits comes before a warm runner.
	kept := max(0, min(usable[""], s.minIdle)-s.short(missing, room))
	usable[""] -= kept
	return missing, usable, s.minIdle - kept
}

// short is how many Runners too few can be made for want of room alone.
func (s situation) short(missing []waiting, room int) int {
	if !s.open || s.probing {
		return 0
	}
	return max(0, len(missing)-room)
}

// create Runners for the jobs that miss one, then warm ones, as many as there is room for. While runners of the pool's own
// size fail to start, one of those at most.
func (s situation) create(missing []waiting, warm, room int) []creation {
	plain := s.probes()
	var chosen []waiting
	for _, job := range slices.Concat(missing, make([]waiting, warm)) {
		switch {
		case len(chosen) == room:
		case job.measured != "":
			chosen = append(chosen, job)
		case plain > 0:
			chosen = append(chosen, job)
			plain--
		}
	}
	var all []creation
	for i, slot := range s.freeSlots(len(chosen)) {
		all = append(all, creation{slot: slot, measured: chosen[i].measured, job: chosen[i].job})
	}
	return all
}

// withoutDeaf counts runners that take no job as outdated, and says when others will be.
func (s situation) withoutDeaf(d *decision) situation {
	s.runners = slices.Clone(s.runners)
	for i, r := range s.runners {
		is, at := s.deaf(r)
		switch {
		case is:
			s.runners[i].outdated = true
		case !at.IsZero():
			d.wakeAt(at)
		}
	}
	return s
}

// unused runners, those without a job, of a kind.
func (s situation) unused(kind func(supply) bool) []string {
	var names []string
	for _, r := range s.runners {
		if r.use <= idle && kind(r) {
			names = append(names, r.name)
		}
	}
	return names
}

// probes is how many Runners of the pool's own size may be made: any number, but one at a time while they fail to start.
func (s situation) probes() int {
	if !s.probing {
		return s.limit
	}
	if len(s.unused(func(r supply) bool { return r.use <= starting && r.measured == "" })) > 0 {
		return 0
	}
	return 1
}

// freeSlots gives the lowest slots that no Runner has. Those of dead Runners count for nothing: as many more slots are
// there. That a Runner is dead is never taken back, so that planners which know it and planners which do not yet still
// cannot make more than the limit between them (I1).
func (s situation) freeSlots(count int) []int {
	slots := s.limit
	taken := make(map[int]bool, len(s.runners))
	for _, r := range s.runners {
		taken[r.slot] = true
		if r.use == dead {
			slots++
		}
	}
	var free []int
	for slot := 0; slot < slots && len(free) < count; slot++ {
		if !taken[slot] {
			free = append(free, slot)
		}
	}
	return free
}

// retireExcess gives who goes when the limit was lowered: whoever goes anyway, then whoever has not got a job, first those
// that no job needs, the least advanced before others. Those that are leaving already count.
func (s situation) retireExcess(excess int, going []string, spare map[string]int) []string {
	for _, r := range s.runners {
		if r.use == leaving {
			excess--
		}
	}
	for _, needless := range []bool{true, false} {
		for _, r := range s.byAdvance() {
			if len(going) >= excess || r.use > idle {
				break
			}
			if slices.Contains(going, r.name) || needless && spare[r.measured] <= 0 {
				continue
			}
			going = append(going, r.name)
			spare[r.measured]--
		}
	}
	return going
}

// retireSpare runners that no queued job needs: at once those without a sandbox, and those that are idle once they have been
// for the idle timeout, or at once as far as jobs are short of room. A starting one is left to come online: a job may come
// before it does.
func (s situation) retireSpare(d *decision, spare map[string]int, short int) {
	for _, r := range s.byAdvance() {
		if spare[r.measured] <= 0 || r.outdated && s.open {
			continue
		}
		expires := r.since.Add(s.idleTimeout)
		switch {
		case r.use != pending && r.use != idle:
			continue
		case r.use == idle && short <= 0 && expires.After(s.now):
			d.wakeAt(expires)
		default:
			d.retire = append(d.retire, r.name)
			short--
		}
		spare[r.measured]--
	}
}

// byAdvance orders the Runners by how far they are, then by how long they have been idle, then from the highest slot down.
func (s situation) byAdvance() []supply {
	ordered := slices.Clone(s.runners)
	slices.SortStableFunc(ordered, func(a, b supply) int {
		if a.use != b.use {
			return int(a.use) - int(b.use)
		}
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return b.slot - a.slot
	})
	return ordered
}

func (d *decision) wakeAt(t time.Time) {
	if d.again.IsZero() || t.Before(d.again) {
		d.again = t
	}
}
