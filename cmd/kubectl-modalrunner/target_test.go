package main

import (
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

func TestFindTarget(t *testing.T) {
	sandboxed := func(r *v1alpha1.Runner) {
		r.Status.SandboxID = "sb-runner"
		r.Spec.Modal = v1alpha1.Modal{App: "app", SecretName: "modal"}
	}
	runners := []v1alpha1.Runner{
		samples.Runner("widgets-0", v1alpha1.RunnerRunning, sandboxed),
		samples.Runner("widgets-1", v1alpha1.RunnerPending, func(r *v1alpha1.Runner) {
			r.UID = "ffffffff-89ab-cdef-0123-456789abcdef"
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Message: "waiting: ModalReady"}}
			r.Status.LastFailure = &v1alpha1.AttemptFailure{Log: "the end"}
		}),
		samples.Runner("job-4", v1alpha1.RunnerRunning, sandboxed),
	}
	job := func(id int64, state v1alpha1.JobState, runner, sandbox string) v1alpha1.WorkflowJob {
		return samples.QueuedJob(id, func(j *v1alpha1.WorkflowJob) {
			j.Status.State, j.Status.RunnerName, j.Status.SandboxID = state, runner, sandbox
		})
	}
	jobs := []v1alpha1.WorkflowJob{
		job(1, v1alpha1.JobInProgress, runners[0].OutsideName(), ""),
		job(2, v1alpha1.JobCompleted, "widgets-7-gone", "sb-gone"),
		job(3, v1alpha1.JobQueued, "", ""),
		job(4, v1alpha1.JobCompleted, "somebody-elses", ""),
		job(5, v1alpha1.JobCompleted, "", ""),
	}
	for argument, test := range map[string]struct{ sandbox, fails string }{
		"widgets-0":        {sandbox: "sb-runner"},
		"mr/widgets-0":     {sandbox: "sb-runner"},
		"Runner/widgets-0": {sandbox: "sb-runner"},
		"job-1":            {sandbox: "sb-runner"},
		"1":                {sandbox: "sb-runner"},
		"wfj/job-2":        {sandbox: "sb-gone"},
		"2":                {sandbox: "sb-gone"},
		"runner/job-4":     {sandbox: "sb-runner"},
		"job-4":            {fails: "both a Runner and a job"},
		"job/job-4":        {fails: "ran on somebody-elses"},
		"3":                {fails: "kubectl modalrunner queue widgets tells why"},
		"5":                {fails: "had no runner"},
		"widgets-1":        {fails: "no sandbox yet: waiting: ModalReady\nwhat its last one wrote"},
		"nothing":          {fails: "no Runner and no job nothing"},
		"wfj/widgets-0":    {fails: "no Runner and no job widgets-0"},
	} {
		t.Run(argument, func(t *testing.T) {
			g := NewWithT(t)
			found, err := findTarget(argument, runners, jobs)
			if test.fails != "" {
				g.Expect(err).To(MatchError(ContainSubstring(test.fails)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(found.sandboxID).To(Equal(test.sandbox))
			if test.sandbox == "sb-gone" {
				g.Expect(found.modal).To(BeNil())
				g.Expect(found.pool).To(Equal("widgets"))
			} else {
				g.Expect(found.modal.SecretName).To(Equal("modal"))
			}
		})
	}
}
