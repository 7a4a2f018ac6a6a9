// Command chaos runs hundreds of jobs through the whole product while everything around it fails: the manager is killed,
// calls fail, hang and lose their answers, webhooks are lost, doubled and reordered, sandboxes hang and die, credentials
// expire, a second manager takes over. At the end a checker that knows the full histories of both simulators says of every
// job what became of it, and that nothing was lost, doubled or left over. What goes wrong follows from the seed.
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

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

func main() {
	var o options
	flag.Int64Var(&o.seed, "seed", 1, "What goes wrong, and when.")
	flag.IntVar(&o.jobs, "jobs", 300, "How many jobs are queued.")
	flag.IntVar(&o.runs, "runs", 1, "How many runs are made, with the seeds from -seed up.")
	flag.IntVar(&o.parallel, "parallel", 1, "How many of them at once.")
	flag.StringVar(&o.out, "out", "out", "Folder for the reports.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

type options struct {
	seed     int64
	jobs     int
	runs     int
	parallel int
	out      string
}

func (o *options) run(ctx context.Context) (err error) {
	root, err := stack.Root()
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "modal-runner-chaos-")
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
	return o.runAll(ctx, plane, binary)
}

func (o *options) runAll(ctx context.Context, plane *stack.ControlPlane, binary string) error {
	slots := make(chan struct{}, o.parallel)
	failures := make([]error, o.runs)
	var runs sync.WaitGroup
	for i := range o.runs {
		slots <- struct{}{}
		runs.Go(func() {
			failures[i] = o.runOne(ctx, plane, binary, o.seed+int64(i))
			<-slots
		})
	}
	runs.Wait()
	return errors.Join(failures...)
}

func (o *options) runOne(ctx context.Context, plane *stack.ControlPlane, binary string, seed int64) error {
	fmt.Printf("seed %d: %d jobs; to see the same again: make chaos SEED=%d JOBS=%d\n", seed, o.jobs, seed, o.jobs)
	w, err := newWorld(ctx, plane, binary, seed)
	if err != nil {
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	defer w.stop()
	w.storm(ctx, o.jobs)
	settled := w.calm(ctx)
	report := w.check(ctx, settled)
	name := "chaos"
	if o.runs > 1 {
		name = fmt.Sprintf("chaos-%d", seed)
	}
	if err := o.write(report, name); err != nil {
		return err
	}
	report.print(os.Stdout)
	if problems := report.problems(); len(problems) > 0 {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("chaos-%d.manager.log", seed))
		_ = os.WriteFile(path, []byte(w.log()), 0o600)
		return fmt.Errorf("seed %d: %v; the managers' logs are in %s", seed, problems, path)
	}
	return nil
}

// write the report as NAME.json, and what became of every job as NAME-jobs.json.
func (o *options) write(r *report, name string) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for file, content := range map[string]any{name + ".json": r, name + "-jobs.json": r.fates} {
		text, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(o.out, file), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
