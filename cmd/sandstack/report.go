package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

// figures of a run, as written to the file.
type figures struct {
	Jobs                int         `json:"jobs"`
	Succeeded           int         `json:"succeeded"`
	Failed              int         `json:"failed"`
	Skipped             int         `json:"skipped"`
	MaxConcurrency      int         `json:"maxConcurrency"`
	PeakSandboxes       int         `json:"peakSandboxes"`
	LeakedSandboxes     int         `json:"leakedSandboxes"`
	LeakedRegistrations int         `json:"leakedRegistrations"`
	LeakedObjects       int         `json:"leakedObjects"`
	QueueToStartSeconds percentiles `json:"queueToStartSeconds"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// report the outcomes, write the figures, and say what was wrong.
func (d *demo) report(s sight) error {
	f := figures{
		Jobs: len(s.jobs), MaxConcurrency: d.limit, PeakSandboxes: d.Modal.Peak(""),
		LeakedSandboxes: s.sandboxes, LeakedRegistrations: s.registrations, LeakedObjects: len(s.runners),
	}
	var waits []time.Duration
	for _, j := range s.jobs {
		switch j.Conclusion {
		case "success":
			f.Succeeded++
		case "skipped":
			f.Skipped++
		default:
			f.Failed++
		}
		if !j.StartedAt.IsZero() {
			waits = append(waits, j.StartedAt.Sub(j.CreatedAt))
		}
	}
	f.QueueToStartSeconds = percentiles{P50: percentile(waits, 50), P99: percentile(waits, 99)}
	summarize(os.Stdout, s.jobs, f)
	return errors.Join(verdict(s.jobs, f), f.write(d.out))
}

// verdict says what was wrong with a run.
func verdict(jobs []githubsim.Job, f figures) error {
	var wrong []error
	for _, j := range jobs {
		want := "success"
		if other, ok := deserved[j.Name]; ok {
			want = other
		}
		if j.Conclusion != want {
			wrong = append(wrong, fmt.Errorf("job %s ended with %s instead of %s", j.Name, j.Conclusion, want))
		}
	}
	if f.Jobs != jobsInWorkflow {
		wrong = append(wrong, fmt.Errorf("there were %d jobs, not %d", f.Jobs, jobsInWorkflow))
	}
	if f.PeakSandboxes > f.MaxConcurrency {
		wrong = append(wrong, fmt.Errorf("%d sandboxes were alive at once, over the limit of %d", f.PeakSandboxes, f.MaxConcurrency))
	}
	if f.LeakedSandboxes+f.LeakedRegistrations+f.LeakedObjects > 0 {
		wrong = append(wrong, errors.New("something was left over"))
	}
	return errors.Join(wrong...)
}

func (f figures) write(path string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// percentile of durations in seconds, by the nearest rank.
func percentile(all []time.Duration, p int) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1].Round(time.Millisecond).Seconds()
}

// summarize the run for people.
func summarize(out io.Writer, jobs []githubsim.Job, f figures) {
	table := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nJOB\tOUTCOME\tQUEUED FOR\tRAN FOR\tRUNNER")
	for _, j := range jobs {
		waited, ran := "-", "-"
		if !j.StartedAt.IsZero() {
			waited = j.StartedAt.Sub(j.CreatedAt).Round(time.Millisecond).String()
			ran = j.CompletedAt.Sub(j.StartedAt).Round(time.Millisecond).String()
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", j.Name, j.Conclusion, waited, ran, j.RunnerName)
	}
	_ = table.Flush()
	_, _ = fmt.Fprintf(out, `
%d jobs: %d succeeded, %d failed, %d skipped
queue to start: p50 %.2fs, p99 %.2fs
peak of live sandboxes: %d of %d
leaks: %d sandboxes, %d registrations, %d Runners
`, f.Jobs, f.Succeeded, f.Failed, f.Skipped, f.QueueToStartSeconds.P50, f.QueueToStartSeconds.P99, f.PeakSandboxes, f.MaxConcurrency,
		f.LeakedSandboxes, f.LeakedRegistrations, f.LeakedObjects)
}
