package orphan

import (
	"os"
	"testing"
	"time"

	modalsdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/observe"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox/modal"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

const (
	interval = 5 * time.Minute
	left     = "b-0-0123abcd-0123456789ab-1"
)

// world of two pools, on two repositories, that share a Modal app. Time passes only when the test says so.
type world struct {
	*WithT
	t       *testing.T
	clock   *clocktesting.FakeClock
	github  *githubsim.Server
	modal   *modalsim.Server
	cluster client.Client
	sweeper *Sweeper
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t, clock: clocktesting.NewFakeClock(noon)}
	w.github = githubsim.New(githubsim.Options{Clock: w.clock})
	w.Expect(w.github.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.github.Close)
	w.modal = modalsim.New(modalsim.Options{Clock: w.clock})
	w.Expect(w.modal.Start("127.0.0.1:0")).To(Succeed())
	t.Cleanup(w.modal.Close)
	w.modal.AddToken("ak-test", "as-test")
	t.Setenv("MODAL_SERVER_URL", w.modal.URL())
	t.Setenv("MODAL_CONFIG_PATH", os.DevNull)
	t.Setenv("MODAL_IMAGE_BUILDER_VERSION", "2025.06")
	objects := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "github"}, Data: map[string][]byte{"github_token": []byte("token")}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "modal"}, Data: map[string][]byte{"token_id": []byte("ak-test"), "token_secret": []byte("as-test")}},
	}
	w.github.AddToken("token", "octo")
	for name, repository := range map[string]string{"a": "octo/gears", "b": "octo/widgets"} {
		w.github.AddRepository(repository, true)
		objects = append(objects, &v1alpha1.RunnerPool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name},
			Spec: v1alpha1.RunnerPoolSpec{Scope: v1alpha1.Scope{Repository: repository}, RunnerTemplate: v1alpha1.RunnerTemplate{
				GitHub: v1alpha1.GitHub{URL: w.github.URL(), SecretName: "github"}, Modal: v1alpha1.Modal{App: "shared", SecretName: "modal"},
			}},
		})
	}
	scheme := runtime.NewScheme()
	w.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	w.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	w.cluster = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	secrets := credentials.NewStore(w.cluster, w.clock, time.Second)
	providers, err := modal.NewProviders(secrets, w.clock)
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(providers.Close)
	w.sweeper = &Sweeper{
		Client: w.cluster, Live: w.cluster, Clock: w.clock, Events: events.NewFakeRecorder(100), Installation: "0123abcd",
		Interval: interval, Grace: grace,
		Outside: &observe.Outside{
			GitHub: github.NewClients(secrets, w.clock, github.NewTransport()), Sandboxes: providers,
			Registrations: observe.NewLists[github.Runner](15*time.Second, w.clock),
			SandboxLists:  observe.NewLists[sandbox.Listed](15*time.Second, w.clock),
		},
	}
	w.sweeper.Sweep(t.Context())
	return w
}

// makeSandbox as a call that took effect after it was given up would have.
func (w *world) makeSandbox(name string) {
	w.t.Helper()
	account, err := modalsdk.NewClientWithOptions(&modalsdk.ClientParams{TokenID: "ak-test", TokenSecret: "as-test"})
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
	w.clock.Step(after)
	w.sweeper.Registrations.Refresh(w.t.Context())
	w.sweeper.SandboxLists.Refresh(w.t.Context())
	w.sweeper.Sweep(w.t.Context())
}

func TestB43_AnOrphanGoesInTheSecondSweepThatListsIt(t *testing.T) {
	w := newWorld(t)
	w.makeSandbox(left)
	w.github.AddForeignRunner("octo/widgets", left, "modal")
	w.list(time.Minute)
	w.Expect(w.modal.Alive(nil)).To(HaveLen(1))
	// Looking again at the same lists proves nothing.
	w.clock.Step(interval - time.Second)
	w.sweeper.Sweep(t.Context())
	w.Expect(w.modal.Alive(nil)).To(HaveLen(1))
	w.list(time.Second)
	w.Expect(w.modal.Alive(nil)).To(BeEmpty())
	w.Expect(w.github.Runners()).To(BeEmpty())
}

// I4: the runner took a job after the lists were made, and its pool is not the first of those that share the app.
func TestI4_AnOrphanThatTookAJobMeanwhileIsLeftToFinish(t *testing.T) {
	w := newWorld(t)
	w.makeSandbox(left)
	w.github.AddForeignRunner("octo/widgets", left, "modal")
	job := w.github.AddQueuedJob("octo/widgets", "build", []string{"modal"})
	w.list(time.Minute)
	w.clock.Step(interval)
	w.sweeper.Registrations.Refresh(t.Context())
	w.sweeper.SandboxLists.Refresh(t.Context())
	w.Expect(w.github.TakeJob(job, left)).To(Succeed())
	w.sweeper.Sweep(t.Context())
	w.Expect(w.modal.Alive(nil)).To(HaveLen(1))
	w.Expect(w.github.Runners()).To(HaveLen(1))
	w.Expect(w.github.CompleteJob(job, "success")).To(Succeed())
	w.list(interval)
	w.Expect(w.modal.Alive(nil)).To(BeEmpty())
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
	w.github.AddForeignRunner("octo/widgets", name, "modal")
	w.list(time.Minute)
	w.list(interval)
	w.list(interval)
	w.Expect(w.modal.Alive(nil)).To(HaveLen(1))
	w.Expect(w.github.Runners()).To(HaveLen(1))
}
