package runner

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/scrub"
)

const (
	// exitVersionRefused is the exit code of a runner program whose version GitHub refuses, as asked for by
	// ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE. Source: github.com/actions/runner, Constants.Runner.ReturnCode.
	exitVersionRefused = 7
	// exitKilled is 128 + SIGKILL, which the kernel sends when memory runs out.
	exitKilled = 137
	// logLimit bounds what is kept of a failed sandbox's log, in bytes.
	logLimit = 2048
)

// reasons of a sandbox's end that its status alone tells.
var reasons = map[sandbox.ExitStatus]string{
	sandbox.ExitSuccess:         v1alpha1.ReasonSandboxEnded,
	sandbox.ExitTerminated:      v1alpha1.ReasonSandboxTerminated,
	sandbox.ExitTimeout:         v1alpha1.ReasonSandboxTimeout,
	sandbox.ExitIdleTimeout:     v1alpha1.ReasonSandboxTerminated,
	sandbox.ExitInitFailure:     v1alpha1.ReasonSandboxInitFailed,
	sandbox.ExitInternalFailure: v1alpha1.ReasonInfrastructureFailure,
	sandbox.ExitUnknown:         v1alpha1.ReasonSandboxLost,
}

// reasonOf a sandbox's end, in one word.
func reasonOf(exit sandbox.Exit) string {
	if reason, ok := reasons[exit.Status]; ok {
		return reason
	}
	switch {
	case exit.Code == exitVersionRefused:
		return v1alpha1.ReasonRunnerVersionRefused
	case exit.Code == exitKilled, strings.Contains(strings.ToLower(exit.Message), "out of memory"):
		return v1alpha1.ReasonOutOfMemory
	default:
		return v1alpha1.ReasonRunnerCrashed
	}
}

// advice for the reasons that the operator can do something about.
var advice = map[string]string{
	v1alpha1.ReasonOutOfMemory:          "; give the pool more sandbox.memory",
	v1alpha1.ReasonSandboxTimeout:       "; give the pool a longer sandbox.timeout",
	v1alpha1.ReasonRunnerVersionRefused: "; set image.runnerVersion to latest, or to a newer version",
}

// describe an exit for people.
func describe(exit sandbox.Exit) string {
	text := fmt.Sprintf("%s with exit code %d", exit.Status, exit.Code)
	if exit.Message != "" {
		text += ": " + scrub.Text(exit.Message)
	}
	return text + advice[reasonOf(exit)]
}

// diedAtWork says that the sandbox ended while its runner had a job. GitHub gives up such a job in about ten minutes, so
// that it may have ended by now, as a failure. One whose job was over first has done its work, however it ended.
func (l *life) diedAtWork() bool {
	switch {
	case l.exit.Status == sandbox.ExitSuccess:
		return false
	case l.job == nil || l.job.Status.State != v1alpha1.JobCompleted:
		return true
	default:
		return l.job.Status.Conclusion == "failure" && l.exit.Status != sandbox.ExitTerminated
	}
}

// died tells of a sandbox that ended in the middle of its job: on the Runner, on the job, as event and metric (B27).
func (l *life) died(ctx context.Context) error {
	reason := reasonOf(*l.exit)
	message := "the sandbox ended while its runner had a job: " + describe(*l.exit)
	if err := l.noteProblem(ctx, reason, message); err != nil {
		return err
	}
	if l.runner.FailedIn(l.runner.CurrentAttempt()) {
		return nil
	}
	s := l.status()
	s.Phase = v1alpha1.RunnerFailed
	s.LastFailure = &v1alpha1.AttemptFailure{
		Attempt: l.runner.CurrentAttempt(), Name: s.Name, Reason: reason, Message: clip(message), Log: l.lastWords(ctx),
		Time: metav1.NewTime(l.now),
	}
	l.condition(v1alpha1.ConditionOnline, false, reason, clip(message))
	log.FromContext(ctx).Info("the sandbox died at work", "reason", reason, "sandbox", s.SandboxID, "exit", describe(*l.exit))
	l.count(func() { metrics.RunnerDied(l.poolKey(), reason) })
	l.warn(reason, "%s", clip(message))
	return nil
}

// noteProblem on the job, which stays when the Runner is gone.
func (l *life) noteProblem(ctx context.Context, reason, message string) error {
	if l.job == nil || l.job.Status.Problem != nil {
		return nil
	}
	patch := client.MergeFrom(l.job.DeepCopy())
	l.job.Status.Problem = &v1alpha1.JobProblem{Reason: reason, Message: clip(message)}
	if err := l.Patch(ctx, l.job, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("noting the problem on the job: %w", err)
	}
	return nil
}

// lastWords of the sandbox, without anything that looks like a secret; empty when they cannot be had.
func (l *life) lastWords(ctx context.Context) string {
	id := l.status().SandboxID
	if id == "" {
		return ""
	}
	modal, err := l.modal(ctx)
	if err != nil {
		return ""
	}
	words, err := modal.Log(ctx, id, logLimit)
	if err != nil {
		log.FromContext(ctx).Info("could not read the sandbox's log", "sandbox", id, "error", err.Error())
		return ""
	}
	return scrub.Text(words)
}
