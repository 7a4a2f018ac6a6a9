package queue

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

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
	dead := func(r *v1alpha1.Runner) { r.Status.EndedAt = samples.Ago(time.Second) }
	deleted := func(r *v1alpha1.Runner) { r.DeletionTimestamp = samples.Ago(time.Second) }
	for name, test := range map[string]struct {
		pool    v1alpha1.RunnerPool
		runners []v1alpha1.Runner
		job     func(*v1alpha1.WorkflowJob)
		reason  string
		message string
		runner  string
	}{
		"an approval is missing": {
			pool: samples.Pool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.State = v1alpha1.JobWaiting },
			reason: "NeedsApproval", message: "approval",
		},
		"it comes from a fork": {
			pool: samples.Pool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.HeadRepository = "mallory/widgets" },
			reason: "Fork", message: "set spec.allowForks",
		},
		"its repository is public": {
			pool: samples.Pool(), job: func(j *v1alpha1.WorkflowJob) { j.Spec.Public = true },
			reason: "PublicRepository", message: "set spec.allowPublicRepositories",
		},
		"its wish is refused": {
			pool:   samples.Pool(func(p *v1alpha1.RunnerPool) { p.Spec.Wishes = &v1alpha1.Wishes{} }),
			job:    func(j *v1alpha1.WorkflowJob) { j.Spec.Labels = []string{"modal", "modal-gpu=H100"} },
			reason: "WishRefused", message: "no GPU",
		},
		"GitHub has not answered": {
			pool: samples.Pool(), job: func(j *v1alpha1.WorkflowJob) { j.Status.HeadRepository = "" },
			reason: "Undecided", message: "GitHub is being asked whether the job's code comes from a fork",
		},
		"GitHub does not tell": {
			pool: samples.Pool(), job: func(j *v1alpha1.WorkflowJob) {
				j.Status.HeadRepository = ""
				j.Status.Problem = &v1alpha1.JobProblem{Reason: v1alpha1.ReasonUndecided, Message: "GitHub answers 500"}
			},
			reason: "Undecided", message: "GitHub answers 500",
		},
		"a problem that the changed spec has solved": {
			pool: samples.Pool(func(p *v1alpha1.RunnerPool) { p.Spec.AllowForks = true }),
			job: func(j *v1alpha1.WorkflowJob) {
				j.Status.Problem = &v1alpha1.JobProblem{Reason: v1alpha1.ReasonFork, Message: "it runs code from a fork"}
			},
			reason: "RunnerToBeMade",
		},
		"a runner is online": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{
				samples.Runner("widgets-0", v1alpha1.RunnerStarting),
				samples.Runner("widgets-1", v1alpha1.RunnerIdle, func(r *v1alpha1.Runner) { r.Status.OnlineAt = samples.Ago(20 * time.Second) }),
			},
			reason: "RunnerOnline", message: "Runner widgets-1 is online for 20s: GitHub has not assigned it", runner: "widgets-1",
		},
		"a runner has a job that is not known": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{samples.Runner("widgets-0", v1alpha1.RunnerRunning)},
			reason: "RunnerBusy", message: "perhaps this one", runner: "widgets-0",
		},
		"a runner starts": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{
				samples.Runner("widgets-0", v1alpha1.RunnerRunning, busy),
				samples.Runner("widgets-1", v1alpha1.RunnerStarting, failed, func(r *v1alpha1.Runner) { r.Status.LaunchedAt = samples.Ago(12 * time.Second) }),
			},
			reason: "RunnerStarting", message: "alive for 12s, its runner not online yet; attempt 1 failed with StartupTimeout: not online within 5m0s", runner: "widgets-1",
		},
		"a runner is pending": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{samples.Runner("widgets-0", v1alpha1.RunnerPending, failed, func(r *v1alpha1.Runner) {
				r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Message: "waiting 10s: not online within 5m0s"}}
			})},
			reason: "RunnerPending", message: "Runner widgets-0 has no sandbox yet: waiting 10s: not online within 5m0s", runner: "widgets-0",
		},
		"a runner that was just made": {
			pool: samples.Pool(condition(v1alpha1.ConditionModalReady, "Modal does not answer")), runners: []v1alpha1.Runner{samples.Runner("widgets-0", "")},
			reason: "RunnerPending", message: "no sandbox yet: ModalReady: Modal does not answer", runner: "widgets-0",
		},
		"the pool is not ready": {
			pool:   samples.Pool(condition(v1alpha1.ConditionGitHubReady, "the token is refused")),
			reason: "PoolNotReady", message: "GitHubReady: the token is refused",
		},
		"the pool is suspended": {
			pool:   samples.Pool(func(p *v1alpha1.RunnerPool) { p.Spec.Suspend = true }),
			reason: "Suspended", message: "kubectl modalrunner resume widgets",
		},
		"the pool is degraded": {
			pool: samples.Pool(func(p *v1alpha1.RunnerPool) {
				p.Status.Circuit = &v1alpha1.Circuit{ProbeAt: metav1.NewTime(samples.Now.Add(time.Minute)), LastFailure: v1alpha1.AttemptFailure{Reason: "RunnerCrashed", Message: "exit code 1"}}
			}),
			reason: "PoolDegraded", message: "tries again, in 60s; the latest failed with RunnerCrashed: exit code 1",
		},
		"the pool is full": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{
				samples.Runner("widgets-0", v1alpha1.RunnerRunning, busy), samples.Runner("widgets-1", v1alpha1.RunnerTerminating, deleted),
			},
			reason: "PoolFull", message: "all 2 places are taken (spec.maxConcurrency): number 1 in line",
		},
		"the pool has no places": {
			pool:   samples.Pool(func(p *v1alpha1.RunnerPool) { p.Spec.MaxConcurrency = 0 }),
			reason: "PoolFull", message: "spec.maxConcurrency is 0",
		},
		"the dead hold no place": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{
				samples.Runner("widgets-0", v1alpha1.RunnerRunning, busy), samples.Runner("widgets-1", v1alpha1.RunnerFailed, dead),
			},
			reason: "RunnerToBeMade", message: "about to be made",
		},
		"an idle runner of another measure": {
			pool: samples.Pool(), runners: []v1alpha1.Runner{samples.Runner("widgets-0", v1alpha1.RunnerIdle, func(r *v1alpha1.Runner) {
				r.Spec.Wishes, r.Spec.Labels = []string{"modal-gpu=H100"}, []string{"modal", "modal-gpu=H100"}
			})},
			reason: "RunnerToBeMade",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			job := samples.QueuedJob(1)
			if test.job != nil {
				test.job(&job)
			}
			all := Explain(&test.pool, pointers(test.runners), []*v1alpha1.WorkflowJob{&job}, samples.Now)
			g.Expect(all).To(HaveLen(1))
			g.Expect(all[0].Reason).To(Equal(test.reason), all[0].Message)
			g.Expect(all[0].Message).To(ContainSubstring(test.message))
			g.Expect(all[0].Runner).To(Equal(test.runner))
		})
	}
}

func TestExplainCountsAsThePlanDoes(t *testing.T) {
	g := NewWithT(t)
	runners := []v1alpha1.Runner{samples.Runner("widgets-0", v1alpha1.RunnerRunning), samples.Runner("widgets-1", v1alpha1.RunnerIdle)}
	jobs := []v1alpha1.WorkflowJob{
		samples.QueuedJob(4), samples.QueuedJob(3), samples.QueuedJob(2), samples.QueuedJob(1),
		samples.QueuedJob(5, func(j *v1alpha1.WorkflowJob) {
			j.Status.State, j.Status.RunnerName = v1alpha1.JobInProgress, runners[0].OutsideName()
		}),
		samples.QueuedJob(6, func(j *v1alpha1.WorkflowJob) { j.Status.State = v1alpha1.JobCompleted }),
	}
	runners[1].UID = "ffffffff-89ab-cdef-0123-456789abcdef"
	pool := samples.Pool(func(p *v1alpha1.RunnerPool) { p.Spec.MaxConcurrency = 3 })
	var seen []string
	for _, w := range Explain(&pool, pointers(runners), pointers(jobs), samples.Now) {
		seen = append(seen, w.Job+" "+w.Reason+" "+w.Message)
	}
	g.Expect(seen).To(HaveExactElements(
		ContainSubstring("job-1 RunnerOnline"), ContainSubstring("job-2 RunnerToBeMade"),
		ContainSubstring("number 1 in line"), ContainSubstring("number 2 in line"),
	))
}

func pointers[T any](all []T) []*T {
	var to []*T
	for i := range all {
		to = append(to, &all[i])
	}
	return to
}
