package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// poolTable shows pools at a glance.
func poolTable(views []view, scope scope, now time.Time) *metav1.Table {
	t := table(scope.columns("POOL READY REASON QUEUED STARTING IDLE RUNNING MAX TODAY AGE +RUNNER_VERSION +MESSAGE"))
	for _, v := range views {
		s, ready := v.pool.Status, queue.Ready(&v.pool)
		cost := poolCostOf(v, now)
		row := []any{
			v.pool.Name, string(ready.Status), ready.Reason, s.Queued, s.Starting, s.Idle, s.Running, v.pool.Spec.MaxConcurrency,
			money(cost.Cost, cost.Currency), age(&v.pool.CreationTimestamp, now), dash(versionOf(s.Image)), ready.Message,
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: scope.cells(v.pool.Namespace, row)})
	}
	return t
}

func versionOf(image *v1alpha1.ImageStatus) string {
	if image == nil {
		return ""
	}
	return image.RunnerVersion
}

// describePool with all that it has.
func describePool(out io.Writer, v view, format output, now time.Time) error {
	waiting := explain(v, now)
	s := v.pool.Status
	for _, line := range [][2]string{
		{"Pool", fmt.Sprintf("%s/%s of %s, labels %s", v.pool.Namespace, v.pool.Name, scopeOf(v.pool.Spec.Scope), joined(v.pool.Spec.Labels))},
		{"Ready", fmt.Sprintf("%s, %s: %s", queue.Ready(&v.pool).Status, queue.Ready(&v.pool).Reason, queue.Ready(&v.pool).Message)},
		{"Image", imageOf(s.Image, now)},
		{"Slots", fmt.Sprintf("%d of %d: %d running, %d idle, %d starting", s.Runners, v.pool.Spec.MaxConcurrency, s.Running, s.Idle, s.Starting)},
		{"Queue", queueOf(waiting, now)},
		{"Today", usageOf(v, now)},
	} {
		if _, err := fmt.Fprintf(out, "%-7s %s\n", line[0]+":", line[1]); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	return format.printTables(out, conditionTable(s.Conditions, now), runnerTable(v.runners, now), queueTable(waiting, scope{}, now))
}

func scopeOf(s v1alpha1.Scope) string {
	switch {
	case s.Organization != "":
		return "organization " + s.Organization
	case s.Enterprise != "":
		return "enterprise " + s.Enterprise
	}
	return "repository " + s.Repository
}

func joined(labels []v1alpha1.RunnerLabel) string {
	var all []string
	for _, label := range labels {
		all = append(all, string(label))
	}
	return strings.Join(all, ", ")
}

func imageOf(image *v1alpha1.ImageStatus, now time.Time) string {
	if image == nil {
		return "none yet"
	}
	text := image.ID + ", ready for " + age(&image.BuiltAt, now)
	if image.RunnerVersion != "" {
		text += ", runner " + image.RunnerVersion
	}
	if image.RefusedAt != nil {
		text += ", refused by GitHub as too old"
	}
	return text
}

func queueOf(waiting []queue.Waiting, now time.Time) string {
	switch len(waiting) {
	case 0:
		return "empty"
	case 1:
		return "1 job, for " + span(now.Sub(waiting[0].Since))
	}
	return fmt.Sprintf("%d jobs, the first for %s", len(waiting), span(now.Sub(waiting[0].Since)))
}

func usageOf(v view, now time.Time) string {
	cost := poolCostOf(v, now)
	if cost.Cost == "" {
		return "no cost known"
	}
	text := fmt.Sprintf("%s for %s of sandboxes", money(cost.Cost, cost.Currency), seconds(cost.SandboxSeconds))
	if cost.Budget != "" {
		text += ", of a budget of " + money(cost.Budget, cost.Currency)
	}
	return text
}

func conditionTable(conditions []metav1.Condition, now time.Time) *metav1.Table {
	t := table("CONDITION STATUS REASON FOR MESSAGE")
	for _, c := range conditions {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{c.Type, string(c.Status), c.Reason, age(&c.LastTransitionTime, now), c.Message}})
	}
	return t
}

func runnerTable(runners []v1alpha1.Runner, now time.Time) *metav1.Table {
	t := table("RUNNER PHASE AGE JOB SANDBOX ATTEMPT PROBLEM +MESSAGE")
	for i := range runners {
		r := &runners[i]
		job, problem, message := "", "", ""
		if r.Status.Job != nil {
			job = fmt.Sprintf("%s %s (%d)", r.Status.Job.Repository, r.Status.Job.Name, r.Status.Job.ID)
		}
		if last := r.Status.LastFailure; last != nil {
			problem, message = last.Reason, last.Message
		}
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{
			r.Name, dash(string(r.Status.Phase)), age(&r.CreationTimestamp, now), dash(job), dash(r.Status.SandboxID), r.CurrentAttempt(), dash(problem), dash(message),
		}})
	}
	return t
}
