// Command bench measures what the product costs and how fast it is, beside the floor that the API server and the simulators
// set on the same machine in the same run. It prints tables, writes out/bench.json and out/bench.svg, and compares with a
// saved run. docs/performance.md tells how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.StringVar(&o.scenarios, "scenarios", strings.Join(names(), ","), "Scenarios to run, in their order.")
	flag.IntVar(&o.jobs, "jobs", 1000, "How many jobs a burst has, and how many pools are idle.")
	flag.IntVar(&o.large, "large", 10_000, "How many Runners and jobs are alive in the scenario large; half of them in restart.")
	flag.DurationVar(&o.pause, "pause", time.Minute, "How long what does nothing is watched.")
	flag.DurationVar(&o.githubLatency, "github-latency", 0, "How long each call to the simulated GitHub takes at least.")
	flag.DurationVar(&o.modalLatency, "modal-latency", 0, "How long each call to the simulated Modal takes at least.")
	flag.StringVar(&o.out, "out", "out", "Folder for bench.json, bench.svg and profiles.")
	flag.StringVar(&o.compare, "compare", "", "A bench.json of an earlier run to compare with.")
	flag.StringVar(&o.budget, "budget", "", "A file with the most that figures may be; more is a failure.")
	flag.BoolVar(&o.profile, "profile", false, "Take profiles of the manager in each scenario.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	scenarios                   string
	jobs, large                 int
	pause                       time.Duration
	githubLatency, modalLatency time.Duration
	out, compare, budget        string
	profile                     bool
}

// scenario measures some figures.
type scenario struct {
	name string
	run  func(context.Context, *bench, *results) error
}

// scenarios in the order in which they are run.
var scenarios = []scenario{
	{"counts", runCounts},
	{"light", runLight},
	{"burst", runBurst},
	{"steady", runSteady},
	{"idle", runIdle},
	{"storm", runStorm},
	{"flat", runFlat},
	{"large", runLarge},
	{"restart", runRestart},
}

func names() []string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

func (o *options) run(ctx context.Context) (err error) {
	var chosen []scenario
	for name := range strings.SplitSeq(o.scenarios, ",") {
		i := slices.Index(names(), name)
		if i < 0 {
			return fmt.Errorf("there is no scenario %q: there are %v", name, names())
		}
		chosen = append(chosen, scenarios[i])
	}
	var earlier *results
	if o.compare != "" {
		// Before the run, which takes long.
		if earlier, err = readResults(o.compare); err != nil {
			return err
		}
	}
	limits, err := readBudget(o.budget)
	if err != nil {
		return err
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	r := newResults(o)
	for _, s := range chosen {
		fmt.Printf("\n%s %s\n", time.Now().Format(time.TimeOnly), s.name)
		r.scenario = s.name
		if err := s.run(ctx, b, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, errors.Join(err, r.write(o.out)))
		}
		r.print(os.Stdout, s.name)
	}
	if err := r.write(o.out); err != nil {
		return err
	}
	if earlier != nil {
		r.compareWith(os.Stdout, earlier)
	}
	return limits.check(os.Stdout, r)
}
