package ingress

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/github"
)

// rank orders the states of a job. Waiting and Queued may follow each other until the job is taken.
var rank = map[v1alpha1.JobState]int{
	v1alpha1.JobWaiting: 1, v1alpha1.JobQueued: 1, v1alpha1.JobInProgress: 2, v1alpha1.JobCompleted: 3,
}

// advance the status of a job by what was seen of it. It only moves forward, in whatever order sightings arrive: an
// earlier state adds what it alone tells, and takes nothing away (B03).
func advance(status v1alpha1.WorkflowJobStatus, seen github.Job) v1alpha1.WorkflowJobStatus {
	if rank[seen.State] >= rank[status.State] {
		// What is new is to be confirmed when it may be an old delivery that was played again (B62).
		if seen.State != status.State && seen.State != v1alpha1.JobCompleted {
			status.Unconfirmed = !seen.Confirmed
		}
		status.State = seen.State
	}
	if seen.Confirmed || status.State == v1alpha1.JobCompleted {
		status.Unconfirmed = false
	}
	if status.HeadRepository == "" {
		status.HeadRepository = seen.HeadRepository
	}
	if seen.Conclusion != "" {
		status.Conclusion = seen.Conclusion
	}
	if seen.RunnerName != "" {
		status.RunnerName = seen.RunnerName
	}
	setTime(&status.QueuedAt, seen.CreatedAt)
	if rank[seen.State] >= rank[v1alpha1.JobInProgress] {
		// While a job is queued, its started_at only repeats created_at.
		setTime(&status.StartedAt, seen.StartedAt)
	}
	setTime(&status.CompletedAt, seen.CompletedAt)
	return status
}

func setTime(field **metav1.Time, seen time.Time) {
	if *field == nil && !seen.IsZero() {
		t := metav1.NewTime(seen.Truncate(time.Second))
		*field = &t
	}
}
