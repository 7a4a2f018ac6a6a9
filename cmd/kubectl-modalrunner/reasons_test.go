package main

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// now of all tests.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }

// readyPool is one that can launch.
func readyPool(change ...func(*v1alpha1.RunnerPool)) v1alpha1.RunnerPool {
	pool := v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "widgets", CreationTimestamp: *ago(72 * time.Hour)},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: "octo/widgets"}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 2,
		},
		Status: v1alpha1.RunnerPoolStatus{Image: &v1alpha1.ImageStatus{ID: "im-1", RunnerVersion: "2.330.0", BuiltAt: *ago(time.Hour)}},
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady, v1alpha1.ConditionTemplateReady, v1alpha1.ConditionImageReady} {
		pool.Status.Conditions = append(pool.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: "Ready", Message: "jobs are served", LastTransitionTime: *ago(time.Hour),
		})
	}
	for _, c := range change {
		c(&pool)
	}
	return pool
}

func queuedJob(id int64, change ...func(*v1alpha1.WorkflowJob)) v1alpha1.WorkflowJob {
	job := v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-" + string(rune('0'+id))},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "widgets", ID: id, Repository: "octo/widgets", Name: "build", Labels: []string{"modal"}},
		Status: v1alpha1.WorkflowJobStatus{
			State: v1alpha1.JobQueued, HeadRepository: "octo/widgets", QueuedAt: ago(time.Minute - time.Duration(id)*time.Second),
		},
	}
	for _, c := range change {
		c(&job)
	}
	return job
}

func aRunner(name string, phase v1alpha1.RunnerPhase, change ...func(*v1alpha1.Runner)) v1alpha1.Runner {
	r := v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, UID: "01234567-89ab-cdef-0123-456789abcdef", CreationTimestamp: *ago(time.Minute)},
		Spec:       v1alpha1.RunnerSpec{PoolName: "widgets", Installation: "00c0ffee", Labels: []string{"self-hosted", "linux", "x64", "modal"}},
		Status:     v1alpha1.RunnerStatus{Phase: phase},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func TestExplain(t *testing.T) {
	condition := func(kind, message string) func(*v1alpha1.RunnerPool) {
		return func(p *v1alpha1.RunnerPool) {
			for i := range p.Status.Conditions {
				if c := &p.Status.Conditions[i]; c.Type == kind {
					c.Status, c.Message = metav1.ConditionFalse, message
				}
			}
		}
	}
	failed := func(r *v1alpha1.Runner) {
		r.Status.LastFailure = &v1alpha1.AttemptFailure{Attempt: 1, Reason: v1alpha1.ReasonStartupTimeout, Message: "not online within 5m0s"}
	}
	busy := func(r *v1alpha1.Runner) {
		r.Status.Job = &v1alpha1.RunnerJob{ID: 9, Repository: "octo/widgets", Name: "test"}
	}
	dead := func(r *v1alpha1.Runner) { r.Status.EndedAt = ago(time.Second) }
	deleted := func(r *v1alpha1.Runner) { r.DeletionTimestamp = ago(time.Second) }
	for name, test := range map[string]struct {
		pool    v1alpha1.RunnerPool
		runners []v1alpha1.Runner
		job     func(*v1alpha1.WorkflowJob)
		reason  string
		message string
		runner  string
	}{
		"an approval is missing": {
			pool: readyPool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.State = v1alpha1.JobWaiting },
			reason: "NeedsApproval", message: "approval",
		},
		"it comes from a fork": {
			pool: readyPool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.HeadRepository = "mallory/widgets" },
			reason: "Fork", message: "set spec.allowForks",
		},
		"its repository is public": {
			pool: readyPool(), job: func(j *v1alpha1.WorkflowJob) { j.Spec.Public = true },
			reason: "PublicRepository", message: "set spec.allowPublicRepositories",
		},
		"its wish is refused": {
			pool:   readyPool(func(p *v1alpha1.RunnerPool) { p.Spec.Wishes = &v1alpha1.Wishes{} }),
			job:    func(j *v1alpha1.WorkflowJob) { j.Spec.Labels = []string{"modal", "modal-gpu=H100"} },
			reason: "WishRefused", message: "no GPU",
		},
		"GitHub has not answered": {
			pool: readyPool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.HeadRepository = "" },
			reason: "Undecided", message: "GitHub is being asked whether the job's code comes from a fork",
		},
		"GitHub does not tell": {
			pool: readyPool(), job: func(j *v1alpha1.WorkflowJob) {
				j.Status.HeadRepository = ""
				j.Status.Problem = &v1alpha1.JobProblem{Reason: v1alpha1.ReasonUndecided, Message: "GitHub answers 500"}
			},
			reason: "Undecided", message: "GitHub answers 500",
		},
		"a problem that the changed spec has solved": {
			pool: readyPool(func(p *v1alpha1.RunnerPool) { p.Spec.AllowForks = true }),
			job: func(j *v1alpha1.WorkflowJob) {
				j.Status.Problem = &v1alpha1.JobProblem{Reason: v1alpha1.ReasonFork, Message: "it runs code from a fork"}
			},
			reason: "RunnerToBeMade",
		},
		"a runner is online": {
			pool: readyPool(), runners: []v1alpha1.Runner{
				aRunner("widgets-0", v1alpha1.RunnerStarting),
				aRunner("widgets-1", v1alpha1.RunnerIdle, func(r *v1alpha1.Runner) { r.Status.OnlineAt = ago(20 * time.Second) }),
			},
			reason: "RunnerOnline", message: "Runner widgets-1 is online for 20s: GitHub has not assigned it", runner: "widgets-1",
		},
		"a runner has a job that is not known": {
			pool: readyPool(), runners: []v1alpha1.Runner{aRunner("widgets-0", v1alpha1.RunnerRunning)},
			reason: "RunnerBusy", message: "perhaps this one", runner: "widgets-0",
		},
		"a runner starts": {
			pool: readyPool(), runners: []v1alpha1.Runner{
				aRunner("widgets-0", v1alpha1.RunnerRunning, busy),
				aRunner("widgets-1", v1alpha1.RunnerStarting, failed, func(r *v1alpha1.Runner) { r.Status.LaunchedAt = ago(12 * time.Second) }),
			},
			reason: "RunnerStarting", message: "alive for 12s, its runner not online yet; attempt 1 failed with StartupTimeout: not online within 5m0s", runner: "widgets-1",
		},
		"a runner is pending": {
			pool: readyPool(), runners: []v1alpha1.Runner{aRunner("widgets-0", v1alpha1.RunnerPending, failed, func(r *v1alpha1.Runner) {
				r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Message: "waiting 10s: not online within 5m0s"}}
			})},
			reason: "RunnerPending", message: "Runner widgets-0 has no sandbox yet: waiting 10s: not online within 5m0s", runner: "widgets-0",
		},
		"a runner that was just made": {
			pool: readyPool(condition(v1alpha1.ConditionModalReady, "Modal does not answer")), runners: []v1alpha1.Runner{aRunner("widgets-0", "")},
			reason: "RunnerPending", message: "no sandbox yet: ModalReady: Modal does not answer", runner: "widgets-0",
		},
		"the pool is not ready": {
			pool:   readyPool(condition(v1alpha1.ConditionGitHubReady, "the token is refused")),
			reason: "PoolNotReady", message: "GitHubReady: the token is refused",
		},
		"the pool is suspended": {
			pool:   readyPool(func(p *v1alpha1.RunnerPool) { p.Spec.Suspend = true }),
			reason: "Suspended", message: "kubectl modalrunner resume widgets",
		},
		"the pool is degraded": {
			pool: readyPool(func(p *v1alpha1.RunnerPool) {
				p.Status.Circuit = &v1alpha1.Circuit{ProbeAt: metav1.NewTime(now.Add(time.Minute)), LastFailure: v1alpha1.AttemptFailure{Reason: "RunnerCrashed", Message: "exit code 1"}}
			}),
			reason: "PoolDegraded", message: "tries again, in 60s; the latest failed with RunnerCrashed: exit code 1",
		},
		"the pool is full": {
			pool: readyPool(), runners: []v1alpha1.Runner{
				aRunner("widgets-0", v1alpha1.RunnerRunning, busy), aRunner("widgets-1", v1alpha1.RunnerTerminating, deleted),
			},
			reason: "PoolFull", message: "all 2 places are taken (spec.maxConcurrency): number 1 in line",
		},
		"the pool has no places": {
			pool:   readyPool(func(p *v1alpha1.RunnerPool) { p.Spec.MaxConcurrency = 0 }),
			reason: "PoolFull", message: "spec.maxConcurrency is 0",
		},
		"the dead hold no place": {
			pool: readyPool(), runners: []v1alpha1.Runner{
				aRunner("widgets-0", v1alpha1.RunnerRunning, busy), aRunner("widgets-1", v1alpha1.RunnerFailed, dead),
			},
			reason: "RunnerToBeMade", message: "about to be made",
		},
		"an idle runner of another measure": {
			pool: readyPool(), runners: []v1alpha1.Runner{aRunner("widgets-0", v1alpha1.RunnerIdle, func(r *v1alpha1.Runner) {
				r.Spec.Wishes, r.Spec.Labels = []string{"modal-gpu=H100"}, []string{"modal", "modal-gpu=H100"}
			})},
			reason: "RunnerToBeMade",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			job := queuedJob(1)
			if test.job != nil {
				test.job(&job)
			}
			all := explain(view{pool: test.pool, runners: test.runners, jobs: []v1alpha1.WorkflowJob{job}}, now)
			g.Expect(all).To(HaveLen(1))
			g.Expect(all[0].Reason).To(Equal(test.reason), all[0].Message)
			g.Expect(all[0].Message).To(ContainSubstring(test.message))
			g.Expect(all[0].Runner).To(Equal(test.runner))
		})
	}
}

func TestExplainCountsAsThePlanDoes(t *testing.T) {
	g := NewWithT(t)
	runners := []v1alpha1.Runner{aRunner("widgets-0", v1alpha1.RunnerRunning), aRunner("widgets-1", v1alpha1.RunnerIdle)}
	jobs := []v1alpha1.WorkflowJob{
		queuedJob(4), queuedJob(3), queuedJob(2), queuedJob(1),
		queuedJob(5, func(j *v1alpha1.WorkflowJob) {
			j.Status.State, j.Status.RunnerName = v1alpha1.JobInProgress, runners[0].OutsideName()
		}),
		queuedJob(6, func(j *v1alpha1.WorkflowJob) { j.Status.State = v1alpha1.JobCompleted }),
	}
	runners[1].UID = "ffffffff-89ab-cdef-0123-456789abcdef"
	var seen []string
	for _, w := range explain(view{pool: readyPool(func(p *v1alpha1.RunnerPool) { p.Spec.MaxConcurrency = 3 }), runners: runners, jobs: jobs}, now) {
		seen = append(seen, w.Job+" "+w.Reason+" "+w.Message)
	}
	g.Expect(seen).To(HaveExactElements(
		ContainSubstring("job-1 RunnerOnline"), ContainSubstring("job-2 RunnerToBeMade"),
		ContainSubstring("number 1 in line"), ContainSubstring("number 2 in line"),
	))
}
