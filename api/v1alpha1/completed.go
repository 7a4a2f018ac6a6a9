package v1alpha1

import (
	"strconv"
	"time"
)

const (
	// CompletedLabel says on a WorkflowJob whose job is over up to when that was, in seconds since 1970 and rounded up to
	// CompletedStep: those that were over in the same step are removed together.
	CompletedLabel = "modalrunner.dev/completed-by"
	// CompletedStep is what the times in CompletedLabel are rounded to.
	CompletedStep = 10 * time.Second
)

// LabelCompleted puts on a job that is over when that was. It is final, as the state is.
func (j *WorkflowJob) LabelCompleted() {
	at := j.Status.CompletedAt
	if j.Status.State != JobCompleted || at == nil {
		return
	}
	if j.Labels == nil {
		j.Labels = map[string]string{}
	}
	by := at.Add(CompletedStep - time.Second).Truncate(CompletedStep)
	j.Labels[CompletedLabel] = strconv.FormatInt(by.Unix(), 10)
}

// CompletedBy is the time in a job's label, zero when it has none.
func (j *WorkflowJob) CompletedBy() time.Time {
	seconds, err := strconv.ParseInt(j.Labels[CompletedLabel], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
