package runnerpool

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/simulated"
)

// putSecret in the pool's namespace, made or changed.
func (w *world) putSecret(name string, data map[string]string) {
	w.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: simulated.Namespace, Name: name}, Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	if err := w.cluster.Create(w.t.Context(), secret.DeepCopy()); err != nil {
		w.Expect(w.cluster.Update(w.t.Context(), secret)).To(Succeed())
	}
}

// fail has a Runner of the pool tell of a failed attempt.
func (w *world) fail(reason, imageID string) {
	w.t.Helper()
	at := metav1.NewTime(w.Clock.Now())
	w.runner("p-0", func(s *v1alpha1.RunnerStatus) {
		s.LastFailure = &v1alpha1.AttemptFailure{Attempt: 1, Reason: reason, Message: "x", ImageID: imageID, Time: at}
	})
}

// runner of the pool with this status, made or changed.
func (w *world) runner(name string, status func(*v1alpha1.RunnerStatus)) {
	w.t.Helper()
	key := types.NamespacedName{Namespace: simulated.Namespace, Name: name}
	var runner v1alpha1.Runner
	if err := w.cluster.Get(w.t.Context(), key, &runner); err != nil {
		spec := w.pool().Spec
		runner = v1alpha1.Runner{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: key.Namespace, Name: name, CreationTimestamp: metav1.NewTime(w.Clock.Now()), Finalizers: []string{v1alpha1.RunnerFinalizer},
			},
			Spec: v1alpha1.RunnerSpec{PoolName: "p", Scope: spec.Scope, Labels: v1alpha1.RunnerLabels(spec.Labels), RunnerTemplate: spec.RunnerTemplate},
		}
		w.Expect(w.cluster.Create(w.t.Context(), &runner)).To(Succeed())
	}
	status(&runner.Status)
	w.Expect(w.cluster.Status().Update(w.t.Context(), &runner)).To(Succeed())
}

// queue a job, so that Runners are of use.
func (w *world) queue(name string, labels ...string) {
	w.t.Helper()
	at := metav1.NewTime(w.Clock.Now())
	w.Expect(w.cluster.Create(w.t.Context(), &v1alpha1.WorkflowJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: simulated.Namespace, Name: name},
		Spec:       v1alpha1.WorkflowJobSpec{PoolName: "p", Repository: simulated.Repository, Labels: append([]string{"modal"}, labels...)},
		Status:     v1alpha1.WorkflowJobStatus{State: v1alpha1.JobQueued, HeadRepository: simulated.Repository, QueuedAt: &at},
	})).To(Succeed())
}

func (w *world) runners() []v1alpha1.Runner {
	w.t.Helper()
	var list v1alpha1.RunnerList
	w.Expect(w.cluster.List(w.t.Context(), &list)).To(Succeed())
	return list.Items
}

func TestPoolsOfOneRecipeShareItsBuild(t *testing.T) {
	w := newWorld(t)
	second := w.pool().DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: simulated.Namespace, Name: "q", UID: "v", Generation: 1}
	w.Expect(w.cluster.Create(t.Context(), second)).To(Succeed())
	w.reconcile()
	asked := w.Modal.CallCount("ImageGetOrCreate")
	w.key.Name = "q"
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.Modal.CallCount("ImageGetOrCreate")).To(Equal(asked))
	w.reconciler.images.forget(types.NamespacedName{Namespace: simulated.Namespace, Name: "p"})
	w.Expect(w.reconciler.images.builds).To(HaveLen(1), "the other pool still wants it")
	w.reconciler.images.forget(w.key)
	w.Expect(w.reconciler.images.builds).To(BeEmpty())
}

func TestAnImageServesWhileItsSuccessorIsBuiltOrCannotBe(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	first := w.pool().Status.Image
	w.Modal.FailBuilds("cmake", "E: Unable to locate package cmake")
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.DockerfileCommands = []v1alpha1.DockerfileCommand{"RUN apt-get install -y cmake"}
	})
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonBuildFailed))
	w.Expect(w.message(v1alpha1.ConditionImageReady)).To(And(ContainSubstring("Unable to locate package cmake"), HaveSuffix("until then the image before serves")))
	w.Expect(w.pool().Status.Image).To(Equal(first))
	_, ok := w.pool().CanLaunch()
	w.Expect(ok).To(BeTrue())
	w.queue("job-1")
	w.reconcile()
	w.Expect(w.runners()).To(HaveLen(1))
	w.Modal.MendBuilds()
	w.pass(firstRebuild)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.pool().Status.Image.ID).NotTo(Equal(first.ID))
}

func TestAnImageThatLacksWhatTheSpecAsksForDoesNotServe(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.RunnerPoolSpec){
		"Docker":      func(s *v1alpha1.RunnerPoolSpec) { s.Sandbox.Docker = true },
		"another app": func(s *v1alpha1.RunnerPoolSpec) { s.Modal.App = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.reconcile()
			w.Modal.FailBuilds("", "out of order")
			w.change(change)
			w.Modal.FailBuilds("FROM", "out of order")
			w.Expect(w.pool().Status.Image.Serves(&w.pool().Spec.RunnerTemplate)).To(BeFalse())
			w.reconcile()
			if name == "Docker" {
				_, ok := w.pool().CanLaunch()
				w.Expect(ok).To(BeFalse())
			}
			w.Modal.MendBuilds()
			w.pass(firstRebuild)
			_, ok := w.pool().CanLaunch()
			w.Expect(ok).To(BeTrue(), w.message(v1alpha1.ConditionReady))
		})
	}
}

func TestANewRunnerVersionIsRolledOut(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.MinIdle = 1 })
	w.reconcile()
	first := w.pool().Status.Image
	begun := metav1.NewTime(w.Clock.Now())
	w.runner("p-0", func(s *v1alpha1.RunnerStatus) {
		*s = v1alpha1.RunnerStatus{Phase: v1alpha1.RunnerIdle, SandboxID: "sb-1", Recipe: first.Recipe, LaunchedAt: &begun, OnlineAt: &begun}
	})
	w.reconcile()
	w.GitHub.ReleaseRunner("2.331.0")
	w.pass(refreshRelease)
	image := w.pool().Status.Image
	w.Expect(image.RunnerVersion).To(Equal("2.331.0"))
	w.Expect(image.ID).NotTo(Equal(first.ID))
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.reconcile()
	runners := w.runners()
	w.Expect(runners).To(HaveLen(2))
	for _, runner := range runners {
		w.Expect(runner.DeletionTimestamp.IsZero()).To(Equal(runner.Status.Recipe != first.Recipe), "%s", runner.Name)
	}
}

func TestARefusedRunnerVersionStopsThePoolAndALaterOneHealsIt(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	first := w.pool().Status.Image
	w.pass(time.Minute)
	asked := w.asked("/downloads")
	w.fail(v1alpha1.ReasonRunnerVersionRefused, first.ID)
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonRunnerVersionRefused))
	w.Expect(w.message(v1alpha1.ConditionReady)).To(ContainSubstring("GitHub refuses runner version 2.330.0"))
	_, ok := w.pool().CanLaunch()
	w.Expect(ok).To(BeFalse())
	w.pass(refreshRefused)
	w.Expect(w.asked("/downloads")).To(BeNumerically(">", asked), "asked well before the hour is over")
	w.GitHub.ReleaseRunner("2.331.0")
	w.pass(refreshRefused)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.pool().Status.Image.RunnerVersion).To(Equal("2.331.0"))
}

func TestARefusalOfAnotherImageIsNoNews(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.fail(v1alpha1.ReasonRunnerVersionRefused, "im-before")
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestAPinnedVersionThatIsRefusedSaysWhatToDo(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.RunnerVersion, s.Image.RunnerSHA256 = "2.300.0", fmt.Sprintf("%064d", 1)
	})
	w.reconcile()
	w.fail(v1alpha1.ReasonRunnerVersionRefused, w.pool().Status.Image.ID)
	w.reconcile()
	w.Expect(w.message(v1alpha1.ConditionReady)).To(Equal("GitHub refuses runner version 2.300.0: set image.runnerVersion to latest, or to a newer version"))
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.RunnerVersion, s.Image.RunnerSHA256 = v1alpha1.RunnerVersionLatest, ""
	})
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestAnImageThatModalHasLostIsBuiltAgain(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	lost := w.pool().Status.Image.ID
	w.Expect(w.Modal.DeleteImage(lost)).To(Succeed())
	w.pass(time.Minute)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady), "nothing has told of it yet")
	w.runner("p-0", func(s *v1alpha1.RunnerStatus) {
		s.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRefused, LastTransitionTime: metav1.NewTime(w.Clock.Now()),
		}}
	})
	w.pass(time.Second)
	w.pass(time.Second)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady), w.message(v1alpha1.ConditionReady))
	w.Expect(w.pool().Status.Image.ID).NotTo(Equal(lost))
}

func TestAnImageByItsIDIsUsedAsItIs(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	id, builds := w.pool().Status.Image.ID, w.Modal.CallCount("ImageGetOrCreate")
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Image = v1alpha1.Image{ID: id, Command: []string{"/start.sh"}} })
	w.reconcile()
	w.Expect(w.pool().Status.Image).To(And(HaveField("ID", id), HaveField("Command", []string{"/start.sh"}), HaveField("RunnerVersion", "")))
	w.Expect(w.Modal.CallCount("ImageGetOrCreate")).To(Equal(builds))
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Image.ID = "im-none" })
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonImageNotFound))
}

func TestAPrivateImageIsPulledWithTheRegistrysCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("ci:pass"))
	for name, test := range map[string]struct {
		secret map[string]string
		reason string
	}{
		"user and password":      {map[string]string{"REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "pass"}, v1alpha1.ReasonReady},
		"a docker configuration": {map[string]string{corev1.DockerConfigJsonKey: `{"auths": {"https://registry.example.com": {"auth": "` + auth + `"}}}`}, v1alpha1.ReasonReady},
		"one of another host":    {map[string]string{corev1.DockerConfigJsonKey: `{"auths": {"other.example.com": {"auth": "` + auth + `"}}}`}, v1alpha1.ReasonSecretInvalid},
		"without a password":     {map[string]string{"REGISTRY_USERNAME": "ci"}, v1alpha1.ReasonSecretInvalid},
		"a wrong password":       {map[string]string{"REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "wrong"}, v1alpha1.ReasonBuildFailed},
		"no Secret":              {nil, v1alpha1.ReasonSecretNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Modal.AddPrivateImage("registry.example.com/ci/base:1", "ci", "pass")
			if test.secret != nil {
				w.putSecret("registry", test.secret)
			}
			w.change(func(s *v1alpha1.RunnerPoolSpec) {
				s.Image.Base = "registry.example.com/ci/base:1"
				s.Image.Registry = &v1alpha1.Registry{Type: v1alpha1.RegistryBasic, SecretName: "registry"}
			})
			w.reconcile()
			w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(test.reason), w.message(v1alpha1.ConditionImageReady))
			w.putSecret("registry", map[string]string{"REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "pass"})
			w.pass(recheckBad)
			w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonReady), "mended, it heals: "+w.message(v1alpha1.ConditionImageReady))
		})
	}
}

func TestAPrivateImageIsPulledWithASecretAtModal(t *testing.T) {
	w := newWorld(t)
	w.Modal.AddPrivateImage("registry.example.com/ci/base:1", "ci", "pass")
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.Base = "registry.example.com/ci/base:1"
		s.Image.Registry = &v1alpha1.Registry{Type: v1alpha1.RegistryBasic, ModalSecret: "registry"}
	})
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonReferenceNotFound))
	w.Expect(w.message(v1alpha1.ConditionImageReady)).To(ContainSubstring("Modal Secret registry"))
	w.Modal.AddSecret("registry", map[string]string{"REGISTRY_USERNAME": "ci", "REGISTRY_PASSWORD": "pass"})
	w.pass(firstRebuild)
	w.Expect(w.reason(v1alpha1.ConditionImageReady)).To(Equal(v1alpha1.ReasonReady))
}

func TestOwnImagesFollowTheirCommandAndDocker(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image = v1alpha1.Image{Ref: "ghcr.io/actions/actions-runner:latest"}
	})
	w.reconcile()
	before := w.pool().Status.Image
	w.change(func(s *v1alpha1.RunnerPoolSpec) { s.Image.Command, s.Sandbox.Docker = []string{"/start.sh"}, true })
	w.reconcile()
	w.Expect(w.pool().Status.Image).To(And(HaveField("Command", []string{"/start.sh"}), HaveField("Docker", true), HaveField("ID", before.ID)))
	w.Expect(w.pool().Status.Image.Recipe).NotTo(Equal(before.Recipe), "or runners that were started otherwise would stay")
	_, ok := w.pool().CanLaunch()
	w.Expect(ok).To(BeTrue())
}

func TestAnImageThatModalHasLostIsBuiltAgainForAllThatShareIt(t *testing.T) {
	w := newWorld(t)
	second := w.pool().DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Namespace: simulated.Namespace, Name: "q", UID: "v", Generation: 1}
	w.Expect(w.cluster.Create(t.Context(), second)).To(Succeed())
	w.reconcile()
	lost := w.pool().Status.Image.ID
	w.key.Name = "q"
	w.reconcile()
	w.key.Name = "p"
	w.Expect(w.Modal.DeleteImage(lost)).To(Succeed())
	w.runner("p-0", func(s *v1alpha1.RunnerStatus) {
		s.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionLaunched, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRefused, LastTransitionTime: metav1.NewTime(w.Clock.Now()),
		}}
	})
	w.pass(time.Second)
	w.pass(time.Second)
	w.Expect(w.pool().Status.Image.ID).NotTo(Equal(lost))
}

func TestAChangedSpecThatCannotBeBuiltSaysSo(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	serving := w.pool().Status.Image
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image.Registry = &v1alpha1.Registry{Type: v1alpha1.RegistryBasic, SecretName: "none"}
	})
	pool := w.pool()
	pool.Generation++
	w.Expect(w.cluster.Update(t.Context(), pool)).To(Succeed())
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonSecretNotFound))
	w.Expect(w.message(v1alpha1.ConditionImageReady)).To(HaveSuffix("create it; until then the image before serves"))
	w.Expect(w.pool().Status.Image).To(Equal(serving))
}

func TestASuccessorThatCannotBeBuiltIsTold(t *testing.T) {
	w := newWorld(t)
	w.reconcile()
	w.Modal.FailBuilds("2.331.0", "no such archive")
	w.GitHub.ReleaseRunner("2.331.0")
	w.pass(refreshRelease)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.Expect(w.message(v1alpha1.ConditionImageReady)).To(And(ContainSubstring("its successor, with runner 2.331.0, cannot be"), ContainSubstring("no such archive")))
}

func TestAnOwnImageThatSeemsToBeRefusedIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *v1alpha1.RunnerPoolSpec) {
		s.Image = v1alpha1.Image{Ref: "ghcr.io/actions/actions-runner:latest"}
	})
	w.reconcile()
	w.fail(v1alpha1.ReasonRunnerVersionRefused, w.pool().Status.Image.ID)
	w.reconcile()
	w.Expect(w.message(v1alpha1.ConditionReady)).To(ContainSubstring("set another image.ref or image.id"))
	w.pass(retryOwnImage - time.Second)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonRunnerVersionRefused))
	w.pass(time.Second)
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonReady))
	w.fail(v1alpha1.ReasonRunnerVersionRefused, w.pool().Status.Image.ID)
	w.reconcile()
	w.Expect(w.reason(v1alpha1.ConditionReady)).To(Equal(v1alpha1.ReasonRunnerVersionRefused))
}
