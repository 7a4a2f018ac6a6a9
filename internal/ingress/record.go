// Package ingress turns what GitHub tells into WorkflowJobs: the webhook receiver and the queue poller. It stores what it
// was told before it says so, keeps no state of its own, and decides nothing about runners.
package ingress

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools,verbs=list;watch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runners,verbs=list;watch
// +kubebuilder:rbac:groups=modalrunner.dev,resources=workflowjobs,verbs=get;list;watch;create;update

// Outcome of recording a sighting.
type Outcome string

// Outcomes of recording a sighting.
const (
	Created   Outcome = "created"
	Advanced  Outcome = "advanced"
	Unchanged Outcome = "unchanged"
	// NoPool: no pool's scope and labels match the job.
	NoPool Outcome = "no pool matches"
	// Untrusted: the pool that matches does not trust the secret that the sighting was signed with.
	Untrusted Outcome = "not trusted"
)

const (
	jobIndex    = "spec.id"
	runnerIndex = "outsideName"
)

// Recorder stores sightings of jobs as WorkflowJobs.
type Recorder struct {
	// Client reads from the cache.
	client.Client
	// Live reads from the API server, for the moment after a write that the cache does not show yet.
	Live client.Reader

	failure storeFailure
}

// Index adds the indexes that recording needs to the cache.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.WorkflowJob{}, jobIndex, func(o client.Object) []string {
		return []string{o.GetName()}
	}); err != nil {
		return fmt.Errorf("indexing WorkflowJobs: %w", err)
	}
	if err := indexer.IndexField(ctx, &v1alpha1.Runner{}, runnerIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.Runner).OutsideName()}
	}); err != nil {
		return fmt.Errorf("indexing Runners: %w", err)
	}
	return nil
}

// Trust says which pools a sighting may move.
type Trust func(*v1alpha1.RunnerPool) bool

// Record a sighting of a job. When it returns without an error, the API server has stored it. A job that its pool refuses
// to serve is stored too, and the refusal given.
func (r *Recorder) Record(ctx context.Context, origin Origin, seen github.Job, trust Trust) (Outcome, *v1alpha1.JobProblem, error) {
	name := objectName(origin.Server, seen.ID)
	var known v1alpha1.WorkflowJobList
	if err := r.List(ctx, &known, client.MatchingFields{jobIndex: name}); err != nil {
		return "", nil, fmt.Errorf("looking for job %d: %w", seen.ID, err)
	}
	var pools v1alpha1.RunnerPoolList
	if err := r.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return "", nil, fmt.Errorf("listing pools: %w", err)
	}
	pool := choose(pools.Items, origin, seen)
	if job := trusted(known.Items, pools.Items, pool, trust); job != nil {
		outcome, err := r.update(ctx, job, seen)
		return outcome, refusal(poolOf(pools.Items, job), job), err
	}
	switch {
	case pool == nil && len(known.Items) == 0:
		return NoPool, nil, nil
	case pool == nil, !trust(pool), slices.ContainsFunc(known.Items, func(j v1alpha1.WorkflowJob) bool { return j.Namespace == pool.Namespace }):
		return Untrusted, nil, nil
	}
	job := jobFor(pool, name, seen)
	outcome, err := r.create(ctx, pool, job, seen)
	return outcome, refusal(pool, job), err
}

// trusted is the stored job that the sighting may move, nil when there is none. What another namespace has stored under the
// same name hides no job from the pool that is chosen: it may have been told by another server, through a proxy of its own, and
// its pool may be gone.
func trusted(known []v1alpha1.WorkflowJob, pools []v1alpha1.RunnerPool, chosen *v1alpha1.RunnerPool, trust Trust) *v1alpha1.WorkflowJob {
	for i := range known {
		pool := poolOf(pools, &known[i])
		orphaned := pool == nil && (chosen == nil || chosen.Namespace == known[i].Namespace)
		if orphaned || pool != nil && trust(pool) {
			return &known[i]
		}
	}
	return nil
}

func poolOf(pools []v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) *v1alpha1.RunnerPool {
	for i := range pools {
		if pools[i].Namespace == job.Namespace && pools[i].Name == job.Spec.PoolName {
			return &pools[i]
		}
	}
	return nil
}

func refusal(pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob) *v1alpha1.JobProblem {
	if pool == nil || job.Status.State == v1alpha1.JobCompleted {
		return nil
	}
	return pool.Refusal(job)
}

// jobFor is the object of a job that was seen for the first time.
func jobFor(pool *v1alpha1.RunnerPool, name string, seen github.Job) *v1alpha1.WorkflowJob {
	job := &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: name, Labels: map[string]string{v1alpha1.PoolLabel: pool.Name}},
		Spec: v1alpha1.WorkflowJobSpec{
			PoolName: pool.Name, ID: seen.ID, RunID: seen.RunID, RunAttempt: seen.RunAttempt, Repository: seen.Repository,
			Workflow: seen.Workflow, Name: seen.Name, URL: seen.URL, Labels: seen.Labels, Public: seen.Public,
		},
		Status: advance(v1alpha1.WorkflowJobStatus{}, seen),
	}
	job.LabelCompleted()
	return job
}

func (r *Recorder) create(ctx context.Context, pool *v1alpha1.RunnerPool, job *v1alpha1.WorkflowJob, seen github.Job) (Outcome, error) {
	r.addSandbox(ctx, job)
	if err := ctrl.SetControllerReference(pool, job, r.Scheme()); err != nil {
		return "", fmt.Errorf("owning job %d: %w", seen.ID, err)
	}
	ctx, end := tracing.Record(ctx, job.Name, job.Status.State)
	err := r.Create(ctx, job)
	end(tracing.StoreClass(err))
	if apierrors.IsAlreadyExists(err) {
		// Somebody else was told at the same moment: the name is the lock (B01).
		return r.update(ctx, job, seen)
	}
	if err != nil {
		r.stored(err)
		return "", fmt.Errorf("storing job %d: %w", seen.ID, err)
	}
	r.stored(nil)
	observe(job, v1alpha1.WorkflowJobStatus{})
	return Created, nil
}

// update the stored job. A conflict means that the cache is behind: the job is read from the API server then.
func (r *Recorder) update(ctx context.Context, job *v1alpha1.WorkflowJob, seen github.Job) (Outcome, error) {
	outcome, fresh, of := Unchanged, job.ResourceVersion != "", job.Spec.PoolName
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if !fresh {
			if err := r.Live.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
				return err
			}
		}
		if job.Spec.PoolName != of {
			// It was stored for another pool at the same moment, whose trust was not looked at.
			outcome = Untrusted
			return nil
		}
		fresh = false
		before := job.Status
		job.Status = advance(before, seen)
		job.LabelCompleted()
		r.addSandbox(ctx, job)
		if equality.Semantic.DeepEqual(before, job.Status) {
			return nil
		}
		ctx, end := tracing.Record(ctx, job.Name, job.Status.State)
		err := r.Update(ctx, job)
		end(tracing.StoreClass(err))
		if err != nil {
			r.stored(err)
			return err
		}
		r.stored(nil)
		outcome = Advanced
		observe(job, before)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("storing job %d: %w", seen.ID, err)
	}
	return outcome, nil
}

// addSandbox notes the sandbox that the job runs in, for who looks at the job after its Runner is gone.
func (r *Recorder) addSandbox(ctx context.Context, job *v1alpha1.WorkflowJob) {
	if job.Status.RunnerName == "" || job.Status.SandboxID != "" {
		return
	}
	var runners v1alpha1.RunnerList
	err := r.List(ctx, &runners, client.InNamespace(job.Namespace), client.MatchingFields{runnerIndex: job.Status.RunnerName}, client.UnsafeDisableDeepCopy)
	if err == nil && len(runners.Items) > 0 {
		job.Status.SandboxID = runners.Items[0].Status.SandboxID
	}
}

// observe how long a job was queued, when it is first seen to be taken, and how it ended, when it is first seen to be over.
func observe(job *v1alpha1.WorkflowJob, before v1alpha1.WorkflowJobStatus) {
	pool, after := types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.PoolName}, job.Status
	if before.StartedAt == nil && after.StartedAt != nil && after.QueuedAt != nil && after.RunnerName != "" {
		metrics.JobStarted(pool, after.StartedAt.Sub(after.QueuedAt.Time))
	}
	if before.State == v1alpha1.JobCompleted || after.State != v1alpha1.JobCompleted {
		return
	}
	metrics.JobCompleted(pool, after.Conclusion)
	tracing.JobOver(job)
	if after.StartedAt != nil && after.CompletedAt != nil && after.RunnerName != "" {
		metrics.JobRan(pool, after.CompletedAt.Sub(after.StartedAt.Time))
	}
}

// objectName of a job: the same for whoever reports it. IDs are unique within a server only.
func objectName(server string, id int64) string {
	host := github.Host(server)
	if host == "github.com" {
		return "job-" + strconv.FormatInt(id, 10)
	}
	sum := sha256.Sum256([]byte(host))
	return fmt.Sprintf("job-%x-%d", sum[:hostBytes], id)
}

// hostBytes of a host's digest are in the names of its jobs: too many for another host to be found that has them too.
const hostBytes = 10

// knows says whether a job is stored in a namespace.
func (r *Recorder) knows(ctx context.Context, namespace string, origin Origin, id int64) (bool, error) {
	var known v1alpha1.WorkflowJobList
	err := r.List(ctx, &known, client.InNamespace(namespace), client.MatchingFields{jobIndex: objectName(origin.Server, id)}, client.UnsafeDisableDeepCopy)
	return len(known.Items) > 0, err
}

// Confirm what GitHub says of one stored job now. A job that GitHub does not know any more is over.
func (r *Recorder) Confirm(ctx context.Context, gh *github.Client, job *v1alpha1.WorkflowJob, now time.Time) error {
	seen, err := gh.GetJob(ctx, job.Spec.Repository, job.Spec.ID)
	if fault.Is(err, fault.NotFound) {
		seen = github.Job{ID: job.Spec.ID, State: v1alpha1.JobCompleted, Conclusion: "deleted", CompletedAt: now}
	} else if err != nil {
		return err
	}
	_, err = r.update(ctx, job.DeepCopy(), seen)
	return err
}

// FindOrigin asks GitHub where the code of a stored job comes from. Of a run that GitHub does not know any more, no job can
// be queued.
func (r *Recorder) FindOrigin(ctx context.Context, gh *github.Client, job *v1alpha1.WorkflowJob, now time.Time) error {
	head, err := gh.HeadRepository(ctx, job.Spec.Repository, job.Spec.RunID)
	// Nothing else was asked: what is stored may have moved on since the job was read (B12).
	seen := github.Job{ID: job.Spec.ID, HeadRepository: head}
	if fault.Is(err, fault.NotFound) {
		seen = github.Job{ID: job.Spec.ID, State: v1alpha1.JobCompleted, Conclusion: "deleted", CompletedAt: now}
	} else if err != nil {
		return err
	}
	_, err = r.update(ctx, job.DeepCopy(), seen)
	return err
}
