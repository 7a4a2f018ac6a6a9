package samples

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Fleet is a small installation in which everything happens at once: pools that are well, full, broken, degraded and
// suspended; runners in every phase; jobs that wait for every kind of reason, and jobs that ended in every way.
type Fleet struct {
	Pools   []v1alpha1.RunnerPool
	Runners []v1alpha1.Runner
	Jobs    []v1alpha1.WorkflowJob

	nextJob int64
}

// NewFleet at Now.
func NewFleet() *Fleet {
	f := &Fleet{nextJob: 48211}
	f.widgets()
	f.gpu()
	f.broken()
	f.quiet()
	return f
}

// widgets is busy: runners at work, one of them starting, and more jobs than places.
func (f *Fleet) widgets() {
	f.pool("ci", "widgets", "octo/widgets", 6, func(p *v1alpha1.RunnerPool) {
		p.Status.Running, p.Status.Starting, p.Status.Queued, p.Status.Runners = 5, 1, 3, 6
	})
	for i, job := range []struct {
		name          string
		queued, since time.Duration
	}{
		{"test (linux, 1)", 11*time.Minute + 20*time.Second, 10*time.Minute + 48*time.Second},
		{"test (linux, 2)", 11*time.Minute + 20*time.Second, 10*time.Minute + 41*time.Second},
		{"build / image", 7*time.Minute + 5*time.Second, 6*time.Minute + 30*time.Second},
		{"integration", 4*time.Minute + 12*time.Second, 2*time.Minute + 54*time.Second},
		{"lint", 95 * time.Second, 64 * time.Second},
	} {
		f.busy("ci", "widgets", i, "octo/widgets", "CI", job.name, job.queued, job.since)
	}
	f.runner("ci", "widgets", 5, v1alpha1.RunnerStarting, func(r *v1alpha1.Runner) {
		r.CreationTimestamp, r.Status.LaunchedAt = *Ago(31 * time.Second), Ago(22*time.Second)
	})
	f.queued("ci", "widgets", "octo/widgets", "CI", "docs", 40*time.Second, nil)
	f.queued("ci", "widgets", "octo/widgets", "CI", "e2e (firefox)", 38*time.Second, nil)
	f.queued("ci", "widgets", "octo/widgets", "CI", "e2e (chromium)", 38*time.Second, nil)
	f.done("ci", "widgets", "octo/widgets", "CI", "lint", "success", 14*time.Minute, 13*time.Minute+30*time.Second, 12*time.Minute+10*time.Second)
	f.done("ci", "widgets", "octo/widgets", "CI", "unit", "success", 13*time.Minute+40*time.Second, 13*time.Minute, 9*time.Minute+30*time.Second)
	f.done("ci", "widgets", "octo/widgets", "CI", "e2e (firefox)", "failure", 12*time.Minute, 11*time.Minute+15*time.Second, 5*time.Minute+3*time.Second)
	f.done("ci", "widgets", "octo/widgets", "Nightly", "fuzz", "success", 9*time.Minute, 8*time.Minute+20*time.Second, 3*time.Minute+20*time.Second)
	f.done("ci", "widgets", "octo/widgets", "CI", "deploy / preview", "cancelled", 6*time.Minute, 5*time.Minute+10*time.Second, 4*time.Minute)
}

// gpu has a warm runner, a job whose sandbox died, and jobs that ask for more than they may, or for approval.
func (f *Fleet) gpu() {
	f.pool("ml", "gpu", "octo", 4, func(p *v1alpha1.RunnerPool) {
		p.Spec.Scope, p.Spec.Labels = v1alpha1.Scope{Organization: "octo"}, []v1alpha1.RunnerLabel{"modal-gpu", "cuda"}
		p.Spec.Wishes = &v1alpha1.Wishes{}
		p.Status.Idle, p.Status.Running, p.Status.Runners, p.Status.Queued = 1, 1, 3, 0
	})
	f.busy("ml", "gpu", 0, "octo/trainer", "Train", "finetune (7b)", 9*time.Minute+40*time.Second, 9*time.Minute+2*time.Second)
	f.runner("ml", "gpu", 1, v1alpha1.RunnerIdle, func(r *v1alpha1.Runner) {
		r.CreationTimestamp, r.Status.LaunchedAt, r.Status.OnlineAt = *Ago(6 * time.Minute), Ago(5*time.Minute+50*time.Second), Ago(5*time.Minute+8*time.Second)
	})
	died := f.busy("ml", "gpu", 2, "octo/trainer", "Train", "evaluate", 8*time.Minute+10*time.Second, 7*time.Minute+20*time.Second)
	died.Status.Phase, died.Status.EndedAt = v1alpha1.RunnerFailed, Ago(96*time.Second)
	died.Status.LastFailure = &v1alpha1.AttemptFailure{
		Attempt: 1, Name: died.OutsideName(), Reason: v1alpha1.ReasonOutOfMemory, Time: *Ago(96 * time.Second),
		Message: "the sandbox ended while its runner had a job: Failure with exit code 137; give the pool more sandbox.memory",
		Log:     "2026-03-01 11:52:40Z: Running job: evaluate\nloading checkpoint shards: 100% 4/4\nevaluating on 12,000 samples\nKilled",
	}
	f.queued("ml", "gpu", "octo/trainer", "Train", "finetune (70b)", 5*time.Minute+30*time.Second, func(j *v1alpha1.WorkflowJob) {
		j.Spec.Labels = []string{"modal-gpu", "modal-gpu=H100"}
	})
	f.queued("ml", "gpu", "octo/trainer", "Release", "publish", 18*time.Minute, func(j *v1alpha1.WorkflowJob) {
		j.Status.State, j.Spec.Labels = v1alpha1.JobWaiting, []string{"cuda"}
	})
	f.done("ml", "gpu", "octo/trainer", "Train", "prepare", "success", 11*time.Minute, 10*time.Minute+20*time.Second, 9*time.Minute+44*time.Second)
}

// broken pools: one lacks its Secret, one has runners that do not start.
func (f *Fleet) broken() {
	f.pool("release", "signing", "octo/installer", 2, func(p *v1alpha1.RunnerPool) {
		p.Status.Queued = 1
		fail(p, v1alpha1.ConditionModalReady, v1alpha1.ReasonSecretNotFound, "the Secret release/modal does not exist", 7*time.Minute)
	})
	f.queued("release", "signing", "octo/installer", "Release", "sign", 6*time.Minute+40*time.Second, nil)
	last := v1alpha1.AttemptFailure{
		Attempt: 6, Name: "legacy-0-00c0ffee-0123456789ab-6", Reason: v1alpha1.ReasonStartupTimeout, Time: *Ago(3*time.Minute + 10*time.Second),
		RetryAt: &metav1.Time{Time: Now.Add(50 * time.Second)}, Message: "the runner was not online within 5m0s",
		Log: "An error occurred: The SSL connection could not be established\n  at github.com:443\nRetrying in 30 seconds",
	}
	f.pool("ci", "legacy", "octo/legacy", 3, func(p *v1alpha1.RunnerPool) {
		p.Status.Queued, p.Status.Starting, p.Status.Runners = 1, 1, 1
		p.Status.Circuit = &v1alpha1.Circuit{Failures: 6, LastFailure: last, Probe: "legacy-0", ProbeAt: *last.RetryAt}
		fail(p, v1alpha1.ConditionDegraded, v1alpha1.ReasonAttemptsFailed, "6 attempts failed in a row, the latest: "+last.Message, 9*time.Minute)
	})
	f.queued("ci", "legacy", "octo/legacy", "Build", "package (rpm)", 14*time.Minute+5*time.Second, nil)
	f.runner("ci", "legacy", 0, v1alpha1.RunnerPending, func(r *v1alpha1.Runner) {
		r.CreationTimestamp, r.Status.Attempt, r.Status.LastFailure = *Ago(13*time.Minute + 50*time.Second), 7, &last
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPoolDegraded,
			Message: "runners of the pool fail to start; this one tries next, at 2026-03-01T12:00:50Z"}}
	})
}

// quiet pools: one that has nothing to do, and one that is suspended.
func (f *Fleet) quiet() {
	f.pool("docs", "site", "octo/handbook", 3, func(*v1alpha1.RunnerPool) {})
	f.pool("docs", "archive", "octo/archive", 2, func(p *v1alpha1.RunnerPool) {
		p.Spec.Suspend = true
		fail(p, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "spec.suspend is set: jobs wait in the queue", 26*time.Hour)
	})
	f.done("docs", "site", "octo/handbook", "Pages", "publish", "success", 5*time.Minute, 4*time.Minute+10*time.Second, 3*time.Minute+2*time.Second)
}

// fail a condition of a pool, and Ready with it.
func fail(p *v1alpha1.RunnerPool, kind, reason, message string, since time.Duration) {
	for _, name := range []string{kind, v1alpha1.ConditionReady} {
		status := metav1.ConditionFalse
		if name == v1alpha1.ConditionDegraded {
			status = metav1.ConditionTrue
		}
		set := metav1.Condition{Type: name, Status: status, Reason: reason, Message: message, LastTransitionTime: *Ago(since)}
		known := false
		for i := range p.Status.Conditions {
			if p.Status.Conditions[i].Type == name {
				p.Status.Conditions[i], known = set, true
			}
		}
		if !known {
			p.Status.Conditions = append(p.Status.Conditions, set)
		}
	}
}

func (f *Fleet) pool(namespace, name, repository string, limit int32, change func(*v1alpha1.RunnerPool)) {
	f.Pools = append(f.Pools, Pool(func(p *v1alpha1.RunnerPool) {
		p.Namespace, p.Name, p.Spec.Repository, p.Spec.MaxConcurrency = namespace, name, repository, limit
		p.Spec.GitHub.URL = "https://github.com"
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionRateLimited, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBudgetSufficient,
			Message: "GitHub does not limit the credentials now", LastTransitionTime: *Ago(time.Hour),
		})
		change(p)
	}))
}

func (f *Fleet) runner(namespace, pool string, slot int, phase v1alpha1.RunnerPhase, change func(*v1alpha1.Runner)) *v1alpha1.Runner {
	name := fmt.Sprintf("%s-%d", pool, slot)
	f.Runners = append(f.Runners, Runner(name, phase, func(r *v1alpha1.Runner) {
		r.Namespace, r.Spec.PoolName = namespace, pool
		r.UID = types.UID(fmt.Sprintf("%08x-89ab-cdef-0123-456789abcdef", len(f.Runners)+1))
		if phase != v1alpha1.RunnerPending {
			r.Status.SandboxID = "sb-" + strings.ToUpper(name)
			r.Status.SandboxURL = "https://modal.com/id/" + r.Status.SandboxID
		}
		change(r)
		r.Status.Name = r.OutsideName()
	}))
	return &f.Runners[len(f.Runners)-1]
}

// busy runner with a job that was queued and begun so long ago.
func (f *Fleet) busy(namespace, pool string, slot int, repository, workflow, name string, queued, begun time.Duration) *v1alpha1.Runner {
	r := f.runner(namespace, pool, slot, v1alpha1.RunnerRunning, func(r *v1alpha1.Runner) {
		made := queued - time.Second
		r.CreationTimestamp = *Ago(made)
		r.Status.LaunchedAt, r.Status.OnlineAt, r.Status.BusyAt = Ago(made-4*time.Second), Ago(begun+2*time.Second), Ago(begun)
	})
	f.job(namespace, pool, repository, workflow, name, queued, func(j *v1alpha1.WorkflowJob) {
		j.Status.State, j.Status.StartedAt, j.Status.RunnerName, j.Status.SandboxID = v1alpha1.JobInProgress, Ago(begun), r.OutsideName(), r.Status.SandboxID
		r.Status.Job = &v1alpha1.RunnerJob{ID: j.Spec.ID, Repository: repository, Name: name}
	})
	return r
}

func (f *Fleet) queued(namespace, pool, repository, workflow, name string, queued time.Duration, change func(*v1alpha1.WorkflowJob)) {
	f.job(namespace, pool, repository, workflow, name, queued, func(j *v1alpha1.WorkflowJob) {
		if change != nil {
			change(j)
		}
	})
}

func (f *Fleet) done(namespace, pool, repository, workflow, name, conclusion string, queued, begun, ended time.Duration) {
	f.job(namespace, pool, repository, workflow, name, queued, func(j *v1alpha1.WorkflowJob) {
		j.Status.State, j.Status.Conclusion, j.Status.StartedAt, j.Status.CompletedAt = v1alpha1.JobCompleted, conclusion, Ago(begun), Ago(ended)
		j.Status.SandboxID = fmt.Sprintf("sb-%d", j.Spec.ID)
	})
}

func (f *Fleet) job(namespace, pool, repository, workflow, name string, queued time.Duration, change func(*v1alpha1.WorkflowJob)) {
	f.nextJob++
	f.Jobs = append(f.Jobs, QueuedJob(f.nextJob, func(j *v1alpha1.WorkflowJob) {
		j.Namespace, j.Spec.PoolName, j.Spec.Repository, j.Spec.Workflow, j.Spec.Name = namespace, pool, repository, workflow, name
		j.Spec.URL = fmt.Sprintf("https://github.com/%s/actions/runs/%d/job/%d", repository, 900, j.Spec.ID)
		j.Status.HeadRepository, j.Status.QueuedAt = repository, Ago(queued)
		change(j)
	}))
}
