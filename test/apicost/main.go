// Command apicost measures what the product asks of GitHub, with its default settings: per job, and in an hour in which
// nothing happens, for each scope and each way to learn of jobs. It prints the table of docs/operations.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

func main() {
	var o options
	flag.IntVar(&o.jobs, "jobs", 20, "How many jobs are run each way, one after the other.")
	flag.DurationVar(&o.idle, "idle", 12*time.Minute, "How long nothing happens; counts are given per hour.")
	flag.StringVar(&o.out, "out", "out", "Folder for apicost.json.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apicost:", err)
		os.Exit(1)
	}
}

type options struct {
	jobs int
	idle time.Duration
	out  string
}

// cost of one way.
type cost struct {
	Scope string `json:"scope"`
	News  string `json:"news"`
	// Per job: all requests, those that count towards the hourly limit, and points towards the limit of a minute.
	RequestsPerJob float64 `json:"requests_per_job"`
	CountedPerJob  float64 `json:"counted_per_job"`
	PointsPerJob   float64 `json:"points_per_job"`
	// Per hour in which nothing happens.
	RequestsPerIdleHour float64 `json:"requests_per_idle_hour"`
	CountedPerIdleHour  float64 `json:"counted_per_idle_hour"`
	// WaitP50 and WaitMax are how long the jobs were queued.
	WaitP50 float64 `json:"queued_seconds_p50"`
	WaitMax float64 `json:"queued_seconds_max"`
}

func (o *options) run(ctx context.Context) (err error) {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "modal-runner-apicost-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	fmt.Println("building the manager, starting etcd, kube-apiserver and kube-controller-manager")
	binary, err := stack.BuildManager(ctx, root, folder)
	if err != nil {
		return err
	}
	plane, err := stack.StartControlPlane(ctx, root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	fmt.Printf("each way runs %d jobs, then nothing for %s\n", o.jobs, o.idle)
	costs, failures := make([]cost, len(ways)), make([]error, len(ways))
	var runs sync.WaitGroup
	for i, w := range ways {
		runs.Go(func() { costs[i], failures[i] = o.measure(ctx, plane, binary, w) })
	}
	runs.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return o.report(costs)
}

func (o *options) report(costs []cost) error {
	fmt.Println("| Pools of | Learn of jobs by | Calls per job | of them counted | Points per job | Calls per idle hour | of them counted | Queued, median | longest |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, c := range costs {
		fmt.Printf("| %s | %s | %.1f | %.1f | %.1f | %.0f | %.0f | %.1f s | %.1f s |\n", c.Scope, c.News, c.RequestsPerJob, c.CountedPerJob,
			c.PointsPerJob, c.RequestsPerIdleHour, c.CountedPerIdleHour, c.WaitP50, c.WaitMax)
	}
	text, err := json.MarshalIndent(costs, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, "apicost.json"), append(text, '\n'), 0o644)
}
