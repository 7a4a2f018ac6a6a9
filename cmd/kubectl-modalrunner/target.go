package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox/modal"
)

// target is a sandbox that an argument RUNNER|JOB names.
type target struct {
	sandboxID string
	// modal app and credentials that it was made with; nil when only those of the job's pool are known.
	modal *v1alpha1.Modal
	pool  string
}

// findTarget among the Runners and jobs of a namespace. A job may be named by its WorkflowJob or by its ID at GitHub; the
// kind may come before the name with a slash, as in kubectl.
func findTarget(argument string, runners []v1alpha1.Runner, jobs []v1alpha1.WorkflowJob) (target, error) {
	kind, name := kindOf(argument)
	var runner *v1alpha1.Runner
	var job *v1alpha1.WorkflowJob
	for i := range runners {
		if runners[i].Name == name && kind != kindJob {
			runner = &runners[i]
		}
	}
	for i := range jobs {
		if (jobs[i].Name == name || strconv.FormatInt(jobs[i].Spec.ID, 10) == name) && kind != kindRunner {
			job = &jobs[i]
		}
	}
	switch {
	case runner != nil && job != nil:
		return target{}, fmt.Errorf("%s is both a Runner and a job: write runner/%[1]s or job/%[1]s", name)
	case runner != nil:
		return ofRunner(runner)
	case job != nil:
		return ofJob(job, runners)
	}
	return target{}, fmt.Errorf("there is no Runner and no job %s here: kubectl modalrunner status lists the pools, with a POOL its Runners and their jobs", name)
}

func ofRunner(r *v1alpha1.Runner) (target, error) {
	if r.Status.SandboxID == "" {
		err := fmt.Errorf("runner %s has no sandbox yet", r.Name)
		if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionLaunched); c != nil && c.Status == metav1.ConditionFalse {
			err = fmt.Errorf("%w: %s", err, c.Message)
		}
		if last := r.Status.LastFailure; last != nil && last.Log != "" {
			err = fmt.Errorf("%w\nwhat its last one wrote: kubectl -n %s get mr/%s -o jsonpath={.status.lastFailure.log}", err, r.Namespace, r.Name)
		}
		return target{}, err
	}
	return target{sandboxID: r.Status.SandboxID, modal: &r.Spec.Modal, pool: r.Spec.PoolName}, nil
}

func ofJob(job *v1alpha1.WorkflowJob, runners []v1alpha1.Runner) (target, error) {
	for i := range runners {
		if r := &runners[i]; job.Status.RunnerName != "" && (r.OutsideName() == job.Status.RunnerName || r.Status.Name == job.Status.RunnerName) {
			return ofRunner(r)
		}
	}
	switch {
	case job.Status.SandboxID != "":
		return target{sandboxID: job.Status.SandboxID, pool: job.Spec.PoolName}, nil
	case job.Status.RunnerName != "":
		return target{}, fmt.Errorf("job %s ran on %s, which is no runner of this controller", job.Name, job.Status.RunnerName)
	case job.Status.State == v1alpha1.JobCompleted:
		return target{}, fmt.Errorf("job %s had no runner (%s)", job.Name, job.Status.Conclusion)
	}
	return target{}, fmt.Errorf("job %s has no runner yet: kubectl modalrunner queue %s tells why", job.Name, job.Spec.PoolName)
}

// Kinds that an argument may name, by any of the words that kubectl takes for them.
const (
	kindRunner = "runner"
	kindPool   = "pool"
	kindJob    = "job"
)

var kinds = map[string]string{
	"mr": kindRunner, "runner": kindRunner, "runners": kindRunner, "runner.modalrunner.dev": kindRunner, "runners.modalrunner.dev": kindRunner,
	"rp": kindPool, "pool": kindPool, "runnerpool": kindPool, "runnerpools": kindPool, "runnerpool.modalrunner.dev": kindPool, "runnerpools.modalrunner.dev": kindPool,
	"wfj": kindJob, "job": kindJob, "workflowjob": kindJob, "workflowjobs": kindJob, "workflowjob.modalrunner.dev": kindJob, "workflowjobs.modalrunner.dev": kindJob,
}

// kindOf an argument KIND/NAME; empty for a name alone.
func kindOf(argument string) (kind, name string) {
	kind, name, found := strings.Cut(argument, "/")
	if !found {
		return "", argument
	}
	if known, ok := kinds[strings.ToLower(kind)]; ok {
		return known, name
	}
	return kind, name
}

// poolNamed by an argument POOL, which may have the kind before the name too; empty for none.
func poolNamed(args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	kind, name := kindOf(args[0])
	if kind != "" && kind != kindPool {
		return "", fmt.Errorf("%s is no pool: write the name of a RunnerPool", args[0])
	}
	return name, nil
}

// console of the sandbox that an argument names, with the caller's own rights.
func (p *plugin) console(ctx context.Context, argument string) (console sandbox.Console, sandboxID string, done func(), err error) {
	c, err := p.cluster(false)
	if err != nil {
		return nil, "", nil, err
	}
	found, err := c.target(ctx, argument)
	if err != nil {
		return nil, "", nil, err
	}
	providers, err := modal.NewProviders(credentials.NewStore(c, clock.RealClock{}, 0), clock.RealClock{})
	if err != nil {
		return nil, "", nil, err
	}
	console, err = providers.Console(ctx, c.namespace, *found.modal)
	if err != nil {
		return nil, "", nil, secretError(err, c.namespace, found.modal.SecretName)
	}
	return console, found.sandboxID, providers.Close, nil
}

// target of an argument, with the credentials of its pool where it tells no others.
func (c *cluster) target(ctx context.Context, argument string) (target, error) {
	var runners v1alpha1.RunnerList
	if err := c.List(ctx, &runners, client.InNamespace(c.namespace)); err != nil {
		return target{}, err
	}
	var jobs v1alpha1.WorkflowJobList
	if err := c.List(ctx, &jobs, client.InNamespace(c.namespace)); err != nil {
		return target{}, err
	}
	found, err := findTarget(argument, runners.Items, jobs.Items)
	if err != nil || found.modal != nil {
		return found, err
	}
	pools, err := c.pools(ctx, found.pool)
	if err != nil {
		return target{}, fmt.Errorf("the job's Runner is gone, and its pool has to tell the credentials: %w", err)
	}
	found.modal = &pools[0].Spec.Modal
	return found, nil
}
