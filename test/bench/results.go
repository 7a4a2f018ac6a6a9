package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sigs.k8s.io/yaml"
)

// results of a run: figures by scenario and name, whose unit is the end of the name.
type results struct {
	Commit  string                        `json:"commit"`
	Time    time.Time                     `json:"time"`
	CPUs    int                           `json:"cpus"`
	Load    string                        `json:"load_average_at_the_start"`
	Options map[string]string             `json:"options"`
	Figures map[string]map[string]float64 `json:"figures"`
	Curves  []curve                       `json:"curves"`

	// scenario that figures are added to.
	scenario string
}

// curve of the plot. Curves of the same panel are drawn together.
type curve struct {
	Panel string `json:"panel"`
	Name  string `json:"name"`
	// X and Y name the axes, with their units.
	X      string       `json:"x"`
	Y      string       `json:"y"`
	Points [][2]float64 `json:"points"`
}

func newResults(o *options) *results {
	r := &results{Time: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Figures: map[string]map[string]float64{}}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		r.Commit = strings.TrimSpace(string(out))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load, _, _ = strings.Cut(string(text), " ")
	}
	r.Options = map[string]string{
		"jobs": fmt.Sprint(o.jobs), "large": fmt.Sprint(o.large), "github-latency": o.githubLatency.String(), "modal-latency": o.modalLatency.String(),
	}
	return r
}

// add a figure of the current scenario. Its unit is the end of its name.
func (r *results) add(name string, value float64) {
	if r.Figures[r.scenario] == nil {
		r.Figures[r.scenario] = map[string]float64{}
	}
	r.Figures[r.scenario][name] = value
}

// addAll figures.
func (r *results) addAll(figures map[string]float64) {
	for name, value := range figures {
		r.add(name, value)
	}
}

func (r *results) plot(c curve) { r.Curves = append(r.Curves, c) }

// print a table of a scenario's figures.
func (r *results) print(out io.Writer, scenario string) {
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(r.Figures[scenario])) {
		fmt.Fprintf(table, "  %s\t%s\n", name, number(r.Figures[scenario][name]))
	}
	_ = table.Flush()
}

func number(v float64) string {
	switch {
	case v == 0 || v >= 1000 || v <= -1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// write bench.json and bench.svg.
func (r *results) write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bench.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "bench.svg"), draw(r.Curves), 0o644)
}

func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

// compareWith an earlier run: each figure that both have.
func (r *results) compareWith(out io.Writer, earlier *results) {
	fmt.Fprintf(out, "\ncompared with %s of %s\n", earlier.Commit, earlier.Time.Format(time.DateTime))
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(table, "  scenario\tfigure\tthen\tnow\tchange\n")
	for _, scenario := range slices.Sorted(maps.Keys(r.Figures)) {
		for _, name := range slices.Sorted(maps.Keys(r.Figures[scenario])) {
			then, known := earlier.Figures[scenario][name]
			if !known {
				continue
			}
			now, change := r.Figures[scenario][name], "-"
			if then != 0 {
				change = fmt.Sprintf("%+.0f %%", 100*(now-then)/then)
			}
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\n", scenario, name, number(then), number(now), change)
		}
	}
	_ = table.Flush()
}

// budget is the most that figures may be, by scenario and name.
type budget map[string]map[string]float64

func readBudget(path string) (budget, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b budget
	if err := yaml.UnmarshalStrict(text, &b); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, nil
}

// check the scenarios that were run. A figure that the budget names and that was not measured is a failure too.
func (b budget) check(out io.Writer, r *results) error {
	var over []string
	for _, scenario := range slices.Sorted(maps.Keys(b)) {
		if r.Figures[scenario] == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(b[scenario])) {
			value, measured := r.Figures[scenario][name]
			switch most := b[scenario][name]; {
			case !measured:
				over = append(over, fmt.Sprintf("%s %s was not measured", scenario, name))
			case value > most:
				over = append(over, fmt.Sprintf("%s %s is %s, more than %s", scenario, name, number(value), number(most)))
			default:
				fmt.Fprintf(out, "within the budget: %s %s is %s of %s\n", scenario, name, number(value), number(most))
			}
		}
	}
	if len(over) > 0 {
		return fmt.Errorf("over the budget:\n  %s", strings.Join(over, "\n  "))
	}
	return nil
}
