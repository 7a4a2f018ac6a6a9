package orphan

import (
	"testing"
	"time"

	modalsdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

const (
	interval = 5 * time.Minute
	left     = "b-0-0123abcd-0123456789ab-1"
)

// world of two pools, on two repositories, that share a Modal app. Time passes only when the test says so.
type world struct {
	*WithT
	*simulated.World
	t       *testing.T
	cluster client.Client
	sweeper *Sweeper
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), World: simulated.New(t, githubsim.Options{}, modalsim.Options{}), t: t}
	cluster := w.Cluster()
	for name, repository := range map[string]string{"a": "octo/gears", "b": "octo/widgets"} {
		w.GitHub.AddRepository(repository, true)
		cluster = cluster.WithObjects(&v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name},
			Spec: v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Repository: repository}, RunnerTemplate: v1alpha1.RunnerTemplate{
				GitHub: v1alpha1.GitHub{URL: w.GitHub.URL(), SecretName: "github"}, Modal: v1alpha1.Modal{App: "shared", SecretName: "modal"},
			}},
		})
	}
	w.cluster = cluster.Build()
	w.sweeper = &Sweeper{
		Client: w.cluster, Outside: w.Outside(w.cluster), Live: w.cluster, Clock: w.Clock, Events: events.NewFakeRecorder(100),
		Installation: "0123abcd", Interval: interval, Grace: grace,
	}
	w.sweeper.Sweep(t.Context())
	return w
}

// makeSandbox as a call that took effect after it was given up would have.
func (w *world) makeSandbox(name string) {
	w.t.Helper()
	account, err := modalsdk.NewClientWithOptions(&modalsdk.ClientParams{TokenID: simulated.ModalID, TokenSecret: simulated.ModalSecret})
	w.Expect(err).NotTo(HaveOccurred())
	defer account.Close()
	app, err := account.Apps.FromName(w.t.Context(), "shared", &modalsdk.AppFromNameParams{CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	image, err := account.Images.FromRegistry("ubuntu:24.04", nil).Build(w.t.Context(), app)
	w.Expect(err).NotTo(HaveOccurred())
	_, err = account.Sandboxes.Create(w.t.Context(), app, image, &modalsdk.SandboxCreateParams{Name: name, Command: []string{"/bin/sh"}, Timeout: 24 * time.Hour})
	w.Expect(err).NotTo(HaveOccurred())
}

// list after some time, then sweep.
func (w *world) list(after time.Duration) {
	w.Clock.Step(after)
	w.sweeper.Registrations.Refresh(w.t.Context())
	w.sweeper.SandboxLists.Refresh(w.t.Context())
	w.sweeper.Sweep(w.t.Context())
}

func TestB43_AnOrphanGoesInTheSecondSweepThatListsIt(t *testing.T) {
	w := newWorld(t)
	w.makeSandbox(left)
	w.GitHub.AddForeignRunner("octo/widgets", left, "modal")
	w.list(time.Minute)
	w.Expect(w.Modal.Alive(nil)).To(HaveLen(1))
	// Looking again at the same lists proves nothing.
	w.Clock.Step(interval - time.Second)
	w.sweeper.Sweep(t.Context())
	w.Expect(w.Modal.Alive(nil)).To(HaveLen(1))
	w.list(time.Second)
	w.Expect(w.Modal.Alive(nil)).To(BeEmpty())
	w.Expect(w.GitHub.Runners()).To(BeEmpty())
}

// I4: the runner took a job after the lists were made, and its pool is not the first of those that share the app.
func TestI4_AnOrphanThatTookAJobMeanwhileIsLeftToFinish(t *testing.T) {
	w := newWorld(t)
	w.makeSandbox(left)
	w.GitHub.AddForeignRunner("octo/widgets", left, "modal")
	job := w.GitHub.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	w.list(time.Minute)
	w.Clock.Step(interval)
	w.sweeper.Registrations.Refresh(t.Context())
	w.sweeper.SandboxLists.Refresh(t.Context())
	w.Expect(w.GitHub.TakeJob(job, left)).To(Succeed())
	w.sweeper.Sweep(t.Context())
	w.Expect(w.Modal.Alive(nil)).To(HaveLen(1))
	w.Expect(w.GitHub.Runners()).To(HaveLen(1))
	w.Expect(w.GitHub.CompleteJob(job, "success")).To(Succeed())
	w.list(interval)
	w.Expect(w.Modal.Alive(nil)).To(BeEmpty())
}

func TestB43_WhatARunnerOwnsIsNoOrphanThoughTheCacheDoesNotKnowIt(t *testing.T) {
	w := newWorld(t)
	r := &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "b-0", UID: "01234567-89ab-4d5e-8f90-a1b2c3d4e5f6"},
		Spec:       v1alpha1.RunnerSpec{PoolName: "b", Installation: "0123abcd"},
	}
	name := r.OutsideName()
	live := fake.NewClientBuilder().WithScheme(w.cluster.Scheme()).WithObjects(r).Build()
	w.sweeper.Live = live
	w.makeSandbox(name)
	w.GitHub.AddForeignRunner("octo/widgets", name, "modal")
	w.list(time.Minute)
	w.list(interval)
	w.list(interval)
	w.Expect(w.Modal.Alive(nil)).To(HaveLen(1))
	w.Expect(w.GitHub.Runners()).To(HaveLen(1))
}
