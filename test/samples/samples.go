// Package samples has objects as the API server stores them, for tests of what reads them.
package samples

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Now of the samples.
var Now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Ago of Now.
func Ago(d time.Duration) *metav1.Time { return &metav1.Time{Time: Now.Add(-d)} }

// Pool that can launch: widgets in the namespace ci.
func Pool(change ...func(*v1alpha1.RunnerPool)) v1alpha1.RunnerPool {
	pool := v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "widgets", CreationTimestamp: *Ago(72 * time.Hour)},
		Spec: v1alpha1.RunnerPoolSpec{
			Scope: v1alpha1.Scope{Repository: "octo/widgets"}, Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 2,
		},
		Status: v1alpha1.RunnerPoolStatus{Image: &v1alpha1.ImageStatus{ID: "im-1", RunnerVersion: "2.330.0", BuiltAt: *Ago(time.Hour)}},
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionGitHubReady, v1alpha1.ConditionModalReady, v1alpha1.ConditionTemplateReady, v1alpha1.ConditionImageReady} {
		pool.Status.Conditions = append(pool.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: "Ready", Message: "jobs are served", LastTransitionTime: *Ago(time.Hour),
		})
	}
	for _, c := range change {
		c(&pool)
	}
	return pool
}

// QueuedJob of Pool, the earlier the lower its ID.
func QueuedJob(id int64, change ...func(*v1alpha1.WorkflowJob)) v1alpha1.WorkflowJob {
	job := v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "job-" + strconv.FormatInt(id, 10)},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "widgets", ID: id, Repository: "octo/widgets", Name: "build", Labels: []string{"modal"}},
		Status: v1alpha1.WorkflowJobStatus{
			State: v1alpha1.JobQueued, HeadRepository: "octo/widgets", QueuedAt: Ago(time.Minute - time.Duration(id)*time.Second),
		},
	}
	for _, c := range change {
		c(&job)
	}
	return job
}

// Runner of Pool.
func Runner(name string, phase v1alpha1.RunnerPhase, change ...func(*v1alpha1.Runner)) v1alpha1.Runner {
	r := v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name, UID: "01234567-89ab-cdef-0123-456789abcdef", CreationTimestamp: *Ago(time.Minute)},
		Spec:       v1alpha1.RunnerSpec{PoolName: "widgets", Installation: "00c0ffee", Labels: []string{"self-hosted", "linux", "x64", "modal"}},
		Status:     v1alpha1.RunnerStatus{Phase: phase},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}
