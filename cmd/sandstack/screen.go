package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
)

// screen shows what goes on: as a table that is drawn anew in a terminal, as a line for each change elsewhere.
type screen struct {
	out      io.Writer
	terminal bool
	lines    int
	last     map[string]string
}

func newScreen(out *os.File) *screen {
	return &screen{out: out, terminal: term.IsTerminal(int(out.Fd())), last: map[string]string{}} //nolint:gosec // a file descriptor
}

func (s *screen) show(seen sight) {
	if s.terminal {
		s.draw(seen)
		return
	}
	for _, j := range seen.jobs {
		s.change("job "+j.Name, fmt.Sprintf("%-12s %s", stateOf(j), j.RunnerName))
	}
	for _, r := range seen.runners {
		s.change("runner "+r.Name, fmt.Sprintf("%-12s %s", r.Status.Phase, r.Status.SandboxID))
	}
}

// change prints what is new of a thing.
func (s *screen) change(thing, state string) {
	if s.last[thing] == state {
		return
	}
	s.last[thing] = state
	_, _ = fmt.Fprintf(s.out, "%s %-24s %s\n", time.Now().Format(time.TimeOnly), thing, state)
}

// draw the table over the one before.
func (s *screen) draw(seen sight) {
	var text strings.Builder
	status := seen.pool.Status
	_, _ = fmt.Fprintf(&text, "\nPOOL widgets   queued %d   starting %d   idle %d   running %d   of %d   sandboxes %d\n\n",
		status.Queued, status.Starting, status.Idle, status.Running, seen.pool.Spec.MaxConcurrency, seen.sandboxes)
	table := tabwriter.NewWriter(&text, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "JOB\tSTATE\tRUNNER")
	for _, j := range seen.jobs {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", j.Name, stateOf(j), j.RunnerName)
	}
	_, _ = fmt.Fprintln(table, "\t\t\nRUNNER\tPHASE\tSANDBOX")
	for _, r := range seen.runners {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", r.Name, r.Status.Phase, r.Status.SandboxID)
	}
	_ = table.Flush()
	if s.lines > 0 {
		_, _ = fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = strings.Count(text.String(), "\n")
	_, _ = io.WriteString(s.out, text.String())
}

func stateOf(j githubsim.Job) string {
	if j.Conclusion != "" {
		return j.Conclusion
	}
	return j.Status
}
