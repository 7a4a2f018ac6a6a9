package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

//go:embed workflow.yml
var workflow []byte

// jobsInWorkflow is how many jobs the workflow has, its matrix expanded; deserved are the outcomes of those that do not
// succeed, by name.
const jobsInWorkflow = 10

var deserved = map[string]string{"flaky": "failure", "after-flaky": "skipped"}

// demo sends the workflow through the stack and watches.
type demo struct {
	*stack.World
	options
	say func(string)
}

func (d *demo) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.createPool(ctx); err != nil {
		return err
	}
	d.say("pushing the workflow to " + repository)
	if _, err := d.GitHub.Push(repository, "demo.yml", workflow); err != nil {
		return err
	}
	screen := newScreen(os.Stdout)
	var last sight
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var err error
		if last, err = d.look(ctx); err != nil {
			return false, err
		}
		screen.show(last)
		return d.settled(last), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the workflow to end: %w", err)
	}
	return d.report(last)
}

// createPool and wait until it is ready.
func (d *demo) createPool(ctx context.Context) error {
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "widgets"},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: repository}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: int32(d.limit), //nolint:gosec // a flag
			RunnerTemplate: v1alpha1.RunnerTemplate{
				GitHub:      v1alpha1.GitHub{URL: d.GitHub.URL()},
				Sandbox:     v1alpha1.Sandbox{CPU: resource.MustParse("1"), Memory: resource.MustParse("1Gi")},
				IdleTimeout: metav1.Duration{Duration: 2 * time.Second},
			},
		},
	}
	if err := d.Client.Create(ctx, pool); err != nil {
		return fmt.Errorf("creating the RunnerPool: %w", err)
	}
	d.say("waiting until the RunnerPool is Ready")
	return wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		err := d.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)
		return meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionReady), err
	})
}

// sight of everything at one moment.
type sight struct {
	jobs          []githubsim.Job
	registrations int
	sandboxes     int
	pool          v1alpha1.RunnerPool
	runners       []v1alpha1.Runner
}

func (d *demo) look(ctx context.Context) (sight, error) {
	s := sight{jobs: d.GitHub.Jobs(), sandboxes: len(d.Modal.Alive(nil)), registrations: len(d.GitHub.Runners())}
	var runners v1alpha1.RunnerList
	if err := d.Client.List(ctx, &runners, client.InNamespace(namespace)); err != nil {
		return s, err
	}
	s.runners = runners.Items
	return s, d.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "widgets"}, &s.pool)
}

// graceForLeaks is how long after the last job something may be left before it counts as leaked.
const graceForLeaks = time.Minute

// settled when every job is over, and what was made for them is gone or has had its time to go.
func (d *demo) settled(s sight) bool {
	if len(s.jobs) < jobsInWorkflow {
		return false
	}
	var last time.Time
	for _, j := range s.jobs {
		if j.Status != "completed" {
			return false
		}
		last = slices.MaxFunc([]time.Time{last, j.CompletedAt}, time.Time.Compare)
	}
	return len(s.runners)+s.sandboxes+s.registrations == 0 || time.Since(last) > graceForLeaks
}
