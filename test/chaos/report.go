package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
)

// report of a run.
type report struct {
	Seed                    int64          `json:"seed"`
	Jobs                    int            `json:"jobs"`
	Served                  int            `json:"served"`
	Cancelled               int            `json:"cancelled"`
	FailedForInjectedReason int            `json:"failedForInjectedReason"`
	Lost                    int            `json:"lost"`
	Doubled                 int            `json:"doubled"`
	PeakOverLimit           int            `json:"peakOverLimit"`
	LeakedSandboxes         int            `json:"leakedSandboxes"`
	LeakedRegistrations     int            `json:"leakedRegistrations"`
	ForeignTouched          int            `json:"foreignTouched"`
	SecretsSeen             int            `json:"secretsSeen"`
	ManagerKills            int            `json:"managerKills"`
	Faults                  map[string]int `json:"faults"`

	settled error
	fates   []fate
	notes   []string
}

// fate of a job.
type fate struct {
	Job           int64    `json:"job"`
	Name          string   `json:"name"`
	Labels        []string `json:"labels"`
	Conclusion    string   `json:"conclusion"`
	Runner        string   `json:"runner"`
	QueuedSeconds float64  `json:"queuedSeconds"`
	Fate          string   `json:"fate"`
}

// problems that make the run a failure.
func (r *report) problems() []string {
	var problems []string
	for _, p := range []struct {
		name  string
		count int
	}{
		{"lost", r.Lost}, {"doubled", r.Doubled}, {"peakOverLimit", r.PeakOverLimit}, {"leakedSandboxes", r.LeakedSandboxes},
		{"leakedRegistrations", r.LeakedRegistrations}, {"foreignTouched", r.ForeignTouched}, {"secretsSeen", r.SecretsSeen},
	} {
		if p.count > 0 {
			problems = append(problems, fmt.Sprintf("%s is %d", p.name, p.count))
		}
	}
	if r.settled != nil {
		problems = append(problems, r.settled.Error())
	}
	return problems
}

func (r *report) print(w io.Writer) {
	slowest := slices.MaxFunc(r.fates, func(a, b fate) int { return cmp.Compare(a.QueuedSeconds, b.QueuedSeconds) })
	verdict := "PASS"
	if len(r.problems()) > 0 {
		verdict = "FAIL"
	}
	total := 0
	for _, count := range r.Faults {
		total += count
	}
	_, _ = fmt.Fprintf(w, "%s seed %d: %d jobs: %d served, %d cancelled, %d failed for an injected reason, %d lost, %d doubled; "+
		"%d over a limit; %d sandboxes and %d registrations left; %d foreign touched; %d secrets seen; %d manager kills, %d faults; slowest start %.0f s\n",
		verdict, r.Seed, r.Jobs, r.Served, r.Cancelled, r.FailedForInjectedReason, r.Lost, r.Doubled, max(0, r.PeakOverLimit), r.LeakedSandboxes,
		r.LeakedRegistrations, r.ForeignTouched, r.SecretsSeen, r.ManagerKills, total, slowest.QueuedSeconds)
	for _, f := range r.fates {
		if len(f.Fate) > 4 && f.Fate[:4] == "lost" {
			_, _ = fmt.Fprintf(w, "  job %d %v on %q: %s\n", f.Job, f.Labels, f.Runner, f.Fate)
		}
	}
	for _, note := range r.notes {
		_, _ = fmt.Fprintln(w, "  "+note)
	}
	if len(r.problems()) > 0 {
		for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
			_, _ = fmt.Fprintf(w, "  %4d %s\n", r.Faults[kind], kind)
		}
	}
}
