package runner

import (
	"context"
	"maps"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/github"
	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

// Tags of a sandbox.
const (
	tagInstallation = "modalrunner-installation"
	tagPool         = "modalrunner-pool"
	tagRunner       = "modalrunner-runner"
)

// staleWait is how soon to look again at a Runner of which the cache does not know the latest yet.
const staleWait = 200 * time.Millisecond

// launch registers the runner and creates its sandbox, once per attempt.
//
// Both calls may succeed without their answers arriving, or the controller may die after either. The name tells: GitHub
// refuses a second runner of the same name, and then the sandbox of that name, if there is one, is adopted (B21, B22).
func (l *life) launch(ctx context.Context) error {
	s := l.status()
	if s.SandboxID != "" {
		return nil
	}
	if l.job != nil {
		return l.adoptBusy(ctx)
	}
	s.Phase = v1alpha1.RunnerPending
	if !l.mayTry() || !l.poolReady() {
		return nil
	}
	if l.waits = l.waitsToRetry(); l.waits {
		return nil
	}
	if current, err := l.current(ctx); err != nil || !current {
		l.lookAgain(l.now.Add(staleWait))
		return err
	}
	s.Name = l.runner.OutsideName()
	err := l.start(ctx)
	if err != nil {
		l.condition(v1alpha1.ConditionLaunched, false, launchReason(err), clip(err.Error()))
	}
	return err
}

// current says whether the Runner is still as it was read, and its pool held. A cache that is behind, or a leader that does not
// know yet that it is none any more, would otherwise launch again what another has launched and ended meanwhile (I1): Modal
// refuses a second sandbox of the same name only as long as the first one lives.
func (l *life) current(ctx context.Context) (bool, error) {
	var now v1alpha1.Runner
	if err := l.Live.Get(ctx, l.key(), &now); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if now.UID != l.runner.UID || now.ResourceVersion != l.stored.ResourceVersion {
		return false, nil
	}
	var pool v1alpha1.RunnerPool
	if err := l.Live.Get(ctx, client.ObjectKeyFromObject(l.pool), &pool); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return l.Shard.Holds(&pool), nil
}

// adoptBusy takes up the sandbox of a runner that is known by its job alone: the controller died before it could store
// more. When there is none, the Runner's work is done, and it is not to be tried again.
func (l *life) adoptBusy(ctx context.Context) error {
	if l.job.Status.State == v1alpha1.JobCompleted || l.job.Status.RunnerName != l.runner.OutsideName() {
		return nil
	}
	ctx = tracing.Attempt(ctx, l.runner, tracing.Launch)
	gh, err := l.github(ctx)
	if err != nil {
		return err
	}
	modal, err := l.modal(ctx)
	if err != nil {
		return err
	}
	registered, err := gh.FindRunner(ctx, l.place.Scope, l.runner.OutsideName())
	if fault.IgnoreNotFound(err) != nil {
		return err
	}
	id, err := modal.Find(ctx, l.runner.OutsideName())
	if err != nil {
		return fault.IgnoreNotFound(err)
	}
	l.status().Name = l.runner.OutsideName()
	l.launched(ctx, modal, id, registered.ID)
	return nil
}

// waitsForPool says that a Runner has no sandbox yet.
func waitsForPool(runner *v1alpha1.Runner) bool { return runner.Status.SandboxID == "" }

// poolReady says whether the pool can launch; a change of the pool wakes its waiting Runners.
func (l *life) poolReady() bool {
	if l.pool == nil {
		l.condition(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonPoolNotReady, "the pool is gone, and the Runner goes too")
		return false
	}
	if waitsFor, ok := l.pool.CanLaunch(); !ok {
		l.condition(v1alpha1.ConditionLaunched, false, v1alpha1.ReasonPoolNotReady, "waiting: "+waitsFor)
		return false
	}
	return true
}

// start the attempt.
func (l *life) start(ctx context.Context) error {
	ctx = tracing.Attempt(ctx, l.runner, tracing.Launch)
	gh, err := l.github(ctx)
	if err != nil {
		return err
	}
	modal, err := l.modal(ctx)
	if err != nil {
		return err
	}
	secrets, err := sandbox.SecretEnv(ctx, l.Secrets, l.runner.Namespace, &l.runner.Spec.Sandbox)
	if err != nil {
		return err
	}
	registered, err := gh.CreateJITRunner(ctx, l.place.Scope, l.runner.Spec.RunnerGroup, l.status().Name, l.runner.Spec.Labels)
	if fault.Is(err, fault.Conflict) {
		return l.resume(ctx, gh, modal)
	}
	if err != nil {
		return err
	}
	id, err := modal.Create(ctx, l.request(registered, secrets))
	switch {
	case err == nil:
		l.launched(ctx, modal, id, registered.ID)
		return nil
	case fault.Is(err, fault.Transient):
		// The sandbox may exist, and use the registration: the next try will tell.
		return err
	case fault.Is(err, fault.Conflict):
		return l.clearTheName(ctx, gh, modal, registered)
	case fault.Is(err, fault.Invalid):
		// The same request would be refused again and again: it counts as a failed attempt.
		l.unregister(ctx, gh, registered)
		l.fail(v1alpha1.ReasonRefused, err.Error(), "", l.backoff())
		return nil
	default:
		l.unregister(ctx, gh, registered)
		return err
	}
}

// request for the sandbox. The JIT config goes into its environment and nowhere else (I6).
func (l *life) request(registered github.JITRunner, secrets map[string]credentials.Redacted) sandbox.Request {
	template, image := &l.runner.Spec.RunnerTemplate, l.pool.Status.Image
	request := sandbox.RequestFor(&template.Sandbox)
	request.Name, request.ImageID = l.status().Name, image.ID
	request.Command = sandbox.Command(template, image.Command)
	request.Env = sandbox.Env(template, secrets)
	maps.Copy(request.Env, map[string]credentials.Redacted{
		"ACTIONS_RUNNER_INPUT_JITCONFIG":                     registered.Config,
		"ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE": "1",
		"RUNNER_ALLOW_RUNASROOT":                             "1",
	})
	return request
}

// unregister a runner whose sandbox was refused, so that no registration waits for nothing (B20).
func (l *life) unregister(ctx context.Context, gh *github.Client, registered github.JITRunner) {
	if err := fault.IgnoreNotFound(gh.DeleteRunner(ctx, l.place.Scope, registered.ID)); err != nil {
		log.FromContext(ctx).Info("could not remove the registration of a sandbox that was refused; the next try will",
			"runner", l.status().Name, "error", err.Error())
	}
}

// resume an attempt whose name GitHub knows already: an earlier try got at least that far.
func (l *life) resume(ctx context.Context, gh *github.Client, modal sandbox.Provider) error {
	s := l.status()
	registered, err := gh.FindRunner(ctx, l.place.Scope, s.Name)
	if err != nil {
		// Gone in this moment: the next try registers it anew.
		return err
	}
	id, err := modal.Find(ctx, s.Name)
	if err == nil {
		log.FromContext(ctx).Info("adopting the sandbox of an earlier try", "sandbox", id, "runner", s.Name)
		l.launched(ctx, modal, id, registered.ID)
		return nil
	}
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	// Its JIT config is lost, so that no sandbox can use it any more. One that is busy is left to end by itself.
	if err := gh.DeleteRunner(ctx, l.place.Scope, registered.ID); err != nil && !fault.Is(err, fault.NotFound, fault.Busy) {
		return err
	}
	l.fail(v1alpha1.ReasonNameTaken, "GitHub knew the runner already, and no sandbox had its configuration", "", time.Second)
	return nil
}

// clearTheName of a sandbox that outlived its registration: its runner can do no work.
func (l *life) clearTheName(ctx context.Context, gh *github.Client, modal sandbox.Provider, registered github.JITRunner) error {
	if err := gh.DeleteRunner(ctx, l.place.Scope, registered.ID); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	id, err := modal.Find(ctx, l.status().Name)
	if err == nil {
		err = modal.Terminate(ctx, id)
	}
	if fault.IgnoreNotFound(err) != nil {
		return err
	}
	l.fail(v1alpha1.ReasonNameTaken, "Modal had a sandbox of that name whose registration was gone", "", time.Second)
	return nil
}

// launched records the sandbox and tags it. A tag that fails is not worth the sandbox: it is found by its name.
func (l *life) launched(ctx context.Context, modal sandbox.Provider, id string, registration int64) {
	s := l.status()
	s.Attempt = l.runner.CurrentAttempt()
	s.SandboxID, s.RunnerID = id, registration
	s.SandboxURL = sandbox.URL(id)
	if l.pool != nil && l.pool.Status.Image != nil {
		s.ImageID, s.Recipe = l.pool.Status.Image.ID, l.pool.Status.Image.Recipe
	}
	s.LaunchedAt, s.Exit = l.timestamp(), nil
	s.CostPerHour = l.Ledger.Prices().PerHour(&l.runner.Spec.Sandbox)
	s.Phase = v1alpha1.RunnerStarting
	l.condition(v1alpha1.ConditionLaunched, true, v1alpha1.ReasonLaunched, "the sandbox was created")
	l.condition(v1alpha1.ConditionOnline, false, v1alpha1.ReasonStarting, "the runner is not online yet")
	l.count(func() { metrics.RunnerLaunched(l.poolKey(), l.now.Sub(l.runner.CreationTimestamp.Time)) })
	log.FromContext(ctx).Info("launched", "sandbox", id, "runner", s.Name, "attempt", s.Attempt)
	err := modal.Tag(ctx, id, map[string]string{
		tagInstallation: l.runner.Spec.Installation,
		tagPool:         l.runner.Namespace + "/" + l.runner.Spec.PoolName,
		tagRunner:       l.runner.Namespace + "/" + l.runner.Name,
	})
	if err != nil {
		log.FromContext(ctx).Info("could not tag the sandbox", "sandbox", id, "error", err.Error())
	}
}

// launchReason is the reason of the Launched condition for an error.
func launchReason(err error) string {
	switch fault.ClassOf(err) {
	case fault.SecretMissing:
		return v1alpha1.ReasonSecretNotFound
	case fault.SecretInvalid:
		return v1alpha1.ReasonSecretInvalid
	case fault.Unauthorized:
		return v1alpha1.ReasonUnauthorized
	case fault.Forbidden:
		return v1alpha1.ReasonForbidden
	case fault.Throttled, fault.Held:
		return v1alpha1.ReasonThrottled
	case fault.Invalid, fault.Conflict, fault.NotFound, fault.NoRunnerGroup:
		return v1alpha1.ReasonRefused
	default:
		return v1alpha1.ReasonUnreachable
	}
}
