package runnerpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

const (
	// poolIndex finds the Runners and WorkflowJobs of a pool in the cache.
	poolIndex = "spec.poolName"
	// parallelWrites is how many Runners of one pool are created or deleted at once.
	parallelWrites = 16
)

// IndexJobs adds the indexes by pool to the cache.
func IndexJobs(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.Runner{}, poolIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.Runner).Spec.PoolName}
	}); err != nil {
		return fmt.Errorf("indexing Runners: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.WorkflowJob{}, poolIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.WorkflowJob).Spec.PoolName}
	}); err != nil {
		return fmt.Errorf("indexing WorkflowJobs: %w", err)
	}
	return nil
}

// runnersOf a pool as the cache has them: they must not be changed.
func (r *Reconciler) runnersOf(ctx context.Context, pool *v1alpha1.RunnerPool) ([]v1alpha1.Runner, error) {
	var list v1alpha1.RunnerList
	err := r.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingFields{poolIndex: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing Runners: %w", err)
	}
	return list.Items, nil
}

// situationOf the pool: its waiting jobs, and what use each of its Runners is.
func (r *Reconciler) situationOf(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner) (situation, error) {
	var jobs v1alpha1.WorkflowJobList
	err := r.List(ctx, &jobs, client.InNamespace(pool.Namespace), client.MatchingFields{poolIndex: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return situation{}, fmt.Errorf("listing WorkflowJobs: %w", err)
	}
	s := situation{
		now: r.Clock.Now(), limit: int(pool.Spec.MaxConcurrency), minIdle: int(pool.Spec.MinIdle),
		suspended: pool.Spec.Suspend, probing: pool.Status.Circuit != nil, idleTimeout: pool.Spec.IdleTimeout.Duration,
		labels: map[string][]string{},
	}
	_, s.open = pool.CanLaunch()
	if meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionBudgetSpent) {
		s.minIdle = 0
	}
	jobOf := map[string]v1alpha1.JobState{}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if pool.Wants(job) {
			measured := pool.Spec.Measured(job.Spec.Labels)
			s.waiting = append(s.waiting, waiting{measured: measured, since: queuedAt(job), job: job.Name})
			s.labels[measured] = job.Spec.Labels
		}
		if job.Status.RunnerName != "" {
			jobOf[job.Status.RunnerName] = job.Status.State
		}
	}
	slices.SortStableFunc(s.waiting, func(a, b waiting) int { return a.since.Compare(b.since) })
	for i := range runners {
		supplied := supplyOf(&runners[i], jobOf)
		supplied.outdated, supplied.outdatedAt = outdated(pool, &runners[i], s.now)
		s.runners = append(s.runners, supplied)
	}
	return s, nil
}

// outdated says whether a Runner is not what its pool would make now: its template has changed, it is so old that a job
// would be cut short by the sandbox's timeout, or it has tried too often. The time is when age alone will make it so.
func outdated(pool *v1alpha1.RunnerPool, runner *v1alpha1.Runner, now time.Time) (bool, time.Time) {
	if drifted(pool, runner) || pool.Status.Circuit == nil && runner.AttemptsExhausted() {
		return true, time.Time{}
	}
	online := runner.Status.OnlineAt
	if online == nil {
		return false, time.Time{}
	}
	// A job that it takes has about the other half of the sandbox's life. One that is not online yet has its startupTimeout.
	old := online.Add(runner.Spec.Sandbox.Timeout.Duration / 2)
	if !now.Before(old) {
		return true, time.Time{}
	}
	return false, old
}

// drifted says that the Runner is not what its pool would make now, from its template and the image that serves. How long
// to wait for a runner is no part of what it is, and an image is told by its recipe: a new one replaces runners when it is built.
func drifted(pool *v1alpha1.RunnerPool, runner *v1alpha1.Runner) bool {
	want, have := *pool.Spec.RunnerTemplate.DeepCopy(), runner.Spec.RunnerTemplate
	want.StartupTimeout, want.IdleTimeout, want.Image = have.StartupTimeout, have.IdleTimeout, have.Image
	measured, err := pool.Spec.Measure(runner.Spec.Wishes)
	want.Sandbox = measured
	if image := pool.Status.Image; image != nil && runner.Status.Recipe != "" && runner.Status.Recipe != image.Recipe {
		return true
	}
	return err != nil || !equality.Semantic.DeepEqual(want, have) || !labelled(pool, runner)
}

// labelled says that the runner carries the labels that the pool would give it now.
func labelled(pool *v1alpha1.RunnerPool, runner *v1alpha1.Runner) bool {
	if len(runner.Spec.Wishes) > 0 {
		_, matches := pool.Spec.MatchLabels(runner.Spec.Labels)
		return matches
	}
	return slices.Equal(v1alpha1.RunnerLabels(pool.Spec.Labels), runner.Spec.Labels)
}

// supplyOf a Runner. What the jobs say of it counts beside its own status, which may not tell yet.
func supplyOf(runner *v1alpha1.Runner, jobOf map[string]v1alpha1.JobState) supply {
	s := supply{name: runner.Name, slot: slotOf(runner), measured: runner.Measured(), since: runner.CreationTimestamp.Time}
	state, hasJob := jobOf[runner.OutsideName()]
	switch phase := runner.Status.Phase; {
	case runner.Dead():
		s.use = dead
	case !runner.DeletionTimestamp.IsZero(), hasJob && state == v1alpha1.JobCompleted:
		s.use = leaving
	case hasJob, phase == v1alpha1.RunnerRunning, phase == v1alpha1.RunnerFailed:
		s.use, s.since, s.unexplained = busy, timeOr(runner.Status.BusyAt, s.since), !hasJob
	case phase == v1alpha1.RunnerIdle:
		s.use, s.since = idle, timeOr(runner.Status.OnlineAt, s.since)
	case phase == v1alpha1.RunnerStarting:
		s.use = starting
	}
	return s
}

func queuedAt(job *v1alpha1.WorkflowJob) time.Time {
	return timeOr(job.Status.QueuedAt, job.CreationTimestamp.Time)
}

func timeOr(t *metav1.Time, fallback time.Time) time.Time {
	if t == nil {
		return fallback
	}
	return t.Time
}

// act on a decision. One that fails does not stop the others.
func (r *Reconciler) act(ctx context.Context, pool *v1alpha1.RunnerPool, runners []v1alpha1.Runner, s situation, d decision) error {
	if len(d.create)+len(d.retire) > 0 {
		log.FromContext(ctx).Info("scaling", "create", len(d.create), "retire", len(d.retire), "queued", pool.Status.Queued,
			"runners", len(runners))
	}
	failures := make([]error, len(d.create))
	workqueue.ParallelizeUntil(ctx, parallelWrites, len(d.create), func(i int) {
		failures[i] = r.create(ctx, pool, d.create[i], s.labels[d.create[i].measured])
	})
	for i := range runners {
		runner := &runners[i]
		if slices.Contains(d.retire, runner.Name) && runner.DeletionTimestamp.IsZero() {
			err := r.Delete(ctx, runner, client.Preconditions{UID: &runner.UID})
			if err == nil {
				r.tellDeaf(runner, s)
			}
			failures = append(failures, client.IgnoreNotFound(err))
		}
	}
	return errors.Join(failures...)
}

// tellDeaf of a Runner that is retired because it takes no job.
func (r *Reconciler) tellDeaf(runner *v1alpha1.Runner, s situation) {
	for _, supplied := range s.runners {
		if is, _ := s.deaf(supplied); is && supplied.name == runner.Name {
			metrics.RunnerHung(types.NamespacedName{Namespace: runner.Namespace, Name: runner.Spec.PoolName}, v1alpha1.ReasonRunnerDeaf)
			r.Events.Eventf(runner, nil, corev1.EventTypeWarning, v1alpha1.ReasonRunnerDeaf, "Plan",
				"online and idle for %s while a job waits: replaced", deafTimeout)
		}
	}
}

// create the Runner of a slot, for a job with these labels. That it exists already means that another planner, or this one before its cache caught up,
// has done so: the name is the lock (I1).
func (r *Reconciler) create(ctx context.Context, pool *v1alpha1.RunnerPool, c creation, job []string) error {
	template, wishes := *pool.Spec.RunnerTemplate.DeepCopy(), pool.Spec.WishesOf(job)
	measured, err := pool.Spec.Measure(wishes)
	if err != nil {
		return fmt.Errorf("measuring Runner %s-%d: %w", pool.Name, c.slot, err)
	}
	template.Sandbox = measured
	runner := &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:  pool.Namespace,
			Name:       fmt.Sprintf("%s-%d", pool.Name, c.slot),
			Labels:     map[string]string{v1alpha1.PoolLabel: pool.Name},
			Finalizers: []string{v1alpha1.RunnerFinalizer},
		},
		Spec: v1alpha1.RunnerSpec{
			PoolName:       pool.Name,
			Installation:   r.Installation,
			Scope:          pool.Spec.Scope,
			Labels:         pool.Spec.RunnerLabelsFor(job),
			Wishes:         wishes,
			RunnerTemplate: template,
		},
	}
	if err := ctrl.SetControllerReference(pool, runner, r.Scheme()); err != nil {
		return fmt.Errorf("owning Runner %s: %w", runner.Name, err)
	}
	if c.job != "" {
		runner.Annotations = map[string]string{v1alpha1.MadeFor: c.job}
	}
	ctx, end := tracing.Plan(ctx, c.job, runner.Name)
	err = r.Create(ctx, runner)
	end(tracing.StoreClass(err))
	if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("creating Runner %s: %w", runner.Name, err)
	}
	return nil
}

// slotOf a Runner, the number that its name ends in; -1 for a name that no pool gives.
func slotOf(runner *v1alpha1.Runner) int {
	slot, err := strconv.Atoi(strings.TrimPrefix(runner.Name, runner.Spec.PoolName+"-"))
	if err != nil {
		return -1
	}
	return slot
}
