package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

// patience with what follows the storm: runners that hang are given up after a minute or two.
const patience = 6 * time.Minute

// calm after the storm: wait until every job is over and nothing is left but what the pools keep ready. The managers go on.
func (w *world) calm(ctx context.Context) error {
	for _, p := range pools {
		// No warm runners any more, so that nothing at all is to be left.
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"minIdle":0}}`))
		pool := &v1alpha1.RunnerPool{}
		pool.Namespace, pool.Name = w.namespace, p.name
		if err := w.plane.Client.Patch(ctx, pool, patch); err != nil {
			return err
		}
	}
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		for _, job := range w.github.Jobs() {
			if job.Status != "completed" {
				return false, nil
			}
		}
		var runners v1alpha1.RunnerList
		if err := w.plane.Client.List(ctx, &runners, client.InNamespace(w.namespace)); err != nil {
			return false, err
		}
		sandboxes, registrations := w.left()
		return len(runners.Items)+len(sandboxes)+len(registrations) == 0, nil
	})
	if err != nil {
		return errNotSettled
	}
	return nil
}

// left are the sandboxes and registrations that are there, but for foreign ones.
func (w *world) left() (sandboxes, registrations []string) {
	for _, s := range w.modal.Alive(nil) {
		if !slices.Contains(w.foreign.sandboxes, s.ID) {
			sandboxes = append(sandboxes, s.Name)
		}
	}
	for _, r := range w.github.Runners() {
		if !slices.Contains(w.foreign.registrations, r.Name) {
			registrations = append(registrations, r.Name)
		}
	}
	return sandboxes, registrations
}

// check what became of everything.
func (w *world) check(ctx context.Context, settled error) *report {
	w.mu.Lock()
	r := &report{Seed: w.seed, ManagerKills: w.kills, Faults: map[string]int{}, settled: settled}
	for kind, count := range w.faults {
		r.Faults[kind] = count
	}
	w.mu.Unlock()
	for kind, count := range w.github.FaultHits() {
		r.Faults[kind] = count
	}
	dropped := 0
	for _, d := range w.github.Deliveries() {
		if d.Dropped {
			dropped++
		}
	}
	r.Faults["webhook: lost"] = dropped
	w.checkJobs(r)
	w.checkSandboxes(r)
	sandboxes, registrations := w.left()
	r.LeakedSandboxes, r.LeakedRegistrations = len(sandboxes), len(registrations)
	r.notes = append(r.notes, sandboxes...)
	r.notes = append(r.notes, registrations...)
	r.ForeignTouched = w.foreignTouched()
	w.checkSecrets(ctx, r)
	return r
}

// checkJobs says of every job what became of it.
func (w *world) checkJobs(r *report) {
	starts := map[int64]int{}
	for _, event := range w.github.History() {
		if event.Kind == "job started" {
			starts[event.JobID]++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, job := range w.github.Jobs() {
		f := fate{Job: job.ID, Name: job.Name, Labels: job.Labels, Conclusion: job.Conclusion, Runner: job.RunnerName}
		if !job.StartedAt.IsZero() {
			f.QueuedSeconds = job.StartedAt.Sub(job.CreatedAt).Seconds()
		}
		why := w.doomed[job.RunnerName]
		switch {
		case job.Status != "completed":
			f.Fate = "lost: it is still " + job.Status
			r.Lost++
		case job.Conclusion == "success":
			f.Fate = "served"
			r.Served++
		case w.cancelled[job.ID]:
			f.Fate = "cancelled by its user"
			r.Cancelled++
		case why != "":
			f.Fate = "failed for an injected reason: " + why
			r.FailedForInjectedReason++
		default:
			f.Fate = "lost: it failed, and nothing was done to it"
			r.Lost++
		}
		if starts[job.ID] > 1 {
			f.Fate += "; started twice"
			r.Doubled++
		}
		r.fates = append(r.fates, f)
	}
	r.Jobs = len(r.fates)
}

// checkSandboxes sees that no pool ever had more than its limit alive, and no Runner two at once.
func (w *world) checkSandboxes(r *report) {
	peaks := w.modal.PeakBy(func(s modalsim.Sandbox) string { pool, _, _ := strings.Cut(s.Name, "-"); return pool })
	for _, p := range pools {
		r.PeakOverLimit = max(r.PeakOverLimit, peaks[p.name]-int(p.limit))
	}
	byRunner := w.modal.PeakBy(func(s modalsim.Sandbox) string { return s.Name[:max(0, strings.LastIndex(s.Name, "-"))] })
	for name, peak := range byRunner {
		if peak > 1 {
			r.Doubled++
			r.notes = append(r.notes, fmt.Sprintf("Runner %s had %d sandboxes alive at once", name, peak))
		}
	}
}

// foreignTouched counts what somebody else made and is gone.
func (w *world) foreignTouched() int {
	touched := len(w.foreign.registrations) + len(w.foreign.sandboxes)
	for _, r := range w.github.Runners() {
		if slices.Contains(w.foreign.registrations, r.Name) {
			touched--
		}
	}
	for _, s := range w.modal.Alive(nil) {
		if slices.Contains(w.foreign.sandboxes, s.ID) {
			touched--
		}
	}
	return touched
}

// checkSecrets looks for every secret there ever was in all logs, objects and events (I6).
func (w *world) checkSecrets(ctx context.Context, r *report) {
	w.mu.Lock()
	secrets := slices.Clone(w.secrets)
	w.mu.Unlock()
	for _, s := range w.modal.Sandboxes() {
		if jit := s.Env["ACTIONS_RUNNER_INPUT_JITCONFIG"]; jit != "" {
			secrets = append(secrets, jit)
		}
	}
	texts := map[string]string{"the managers' logs": w.log()}
	for kind, list := range map[string]client.ObjectList{
		"RunnerPools": &v1alpha1.RunnerPoolList{}, "Runners": &v1alpha1.RunnerList{}, "WorkflowJobs": &v1alpha1.WorkflowJobList{},
		"events": &eventsv1.EventList{}, "ConfigMaps": &corev1.ConfigMapList{},
	} {
		if err := w.plane.Client.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
			r.notes = append(r.notes, err.Error())
			r.SecretsSeen++
			continue
		}
		text, _ := yaml.Marshal(list)
		texts[kind] = string(text)
	}
	for where, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				r.SecretsSeen++
				r.notes = append(r.notes, "a secret is in "+where)
			}
		}
	}
}
