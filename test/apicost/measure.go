package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	repository   = "octo/widgets"
	organization = "octo"
	enterprise   = "inc"
	// repositories that the organization has beside the one with the jobs, all of them pushed to lately.
	repositories = 30
	patience     = 5 * time.Minute
)

// way in which a pool learns of its jobs.
type way struct {
	scope string
	news  string
	hook  string
	drop  float64
	pool  func(*v1alpha1.RunnerPoolSpec)
}

var ways = func() []way {
	var all []way
	for _, s := range []way{
		{scope: "a repository", hook: repository, pool: func(s *v1alpha1.RunnerPoolSpec) { s.Repository = repository }},
		{scope: "an organization", hook: organization, pool: func(s *v1alpha1.RunnerPoolSpec) { s.Organization = organization }},
		{scope: "an enterprise", hook: "enterprise:" + enterprise, pool: func(s *v1alpha1.RunnerPoolSpec) {
			s.Enterprise = enterprise
			s.Repositories = &v1alpha1.RepositoryFilter{Include: []v1alpha1.RepositoryPattern{organization + "/*"}}
		}},
	} {
		for _, news := range []struct {
			name string
			hook bool
			drop float64
		}{{"polling alone", false, 0}, {"webhooks", true, 0}, {"webhooks, 30 % lost", true, 0.3}} {
			w := s
			if w.news, w.drop = news.name, news.drop; !news.hook {
				w.hook = ""
			}
			all = append(all, w)
		}
	}
	return all
}()

// bench is one way at work.
type bench struct {
	way
	plane     *stack.ControlPlane
	namespace string
	github    *githubsim.Server
	modal     *modalsim.Server
	manager   *stack.Manager
}

func (o *options) measure(ctx context.Context, plane *stack.ControlPlane, binary string, w way) (cost, error) {
	b := &bench{way: w, plane: plane}
	defer b.stop()
	if err := b.start(ctx, binary); err != nil {
		return cost{}, fmt.Errorf("%s, %s: %w", w.scope, w.news, err)
	}
	before := b.count()
	var waits []time.Duration
	for i := range o.jobs {
		waited, err := b.job(ctx, fmt.Sprint("job-", i))
		if err != nil {
			return cost{}, fmt.Errorf("%s, %s: %w", w.scope, w.news, err)
		}
		waits = append(waits, waited)
	}
	if err := b.settle(ctx); err != nil {
		return cost{}, fmt.Errorf("%s, %s: %w", w.scope, w.news, err)
	}
	jobs, busy := b.count().minus(before), b.count()
	select {
	case <-ctx.Done():
		return cost{}, ctx.Err()
	case <-time.After(o.idle):
	}
	idle := b.count().minus(busy)
	slices.Sort(waits)
	perJob, perHour := float64(o.jobs), o.idle.Hours()
	return cost{
		Scope: w.scope, News: w.news,
		RequestsPerJob: float64(jobs.requests) / perJob, CountedPerJob: float64(jobs.counted) / perJob, PointsPerJob: float64(jobs.points) / perJob,
		RequestsPerIdleHour: float64(idle.requests) / perHour, CountedPerIdleHour: float64(idle.counted) / perHour,
		WaitP50: waits[len(waits)/2].Seconds(), WaitMax: waits[len(waits)-1].Seconds(),
	}, nil
}

func (b *bench) start(ctx context.Context, binary string) error {
	b.github = githubsim.New(githubsim.Options{Seed: 1})
	if err := b.github.Start("127.0.0.1:0"); err != nil {
		return err
	}
	b.github.AddRepository(repository, true)
	for i := range repositories {
		b.github.AddRepository(fmt.Sprintf("%s/r%d", organization, i), true)
	}
	b.github.AddToEnterprise(enterprise, organization)
	b.github.AddToken(stack.GitHubToken, organization, enterprise)
	b.modal = modalsim.New(modalsim.Options{Run: func(ctx context.Context, c modalsim.Container) int {
		return runner.Run(ctx, runner.Config{Env: c.Env, Stdout: c.Stdout})
	}})
	if err := b.modal.Start("127.0.0.1:0"); err != nil {
		return err
	}
	b.modal.AddToken(stack.ModalTokenID, stack.ModalSecret)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "apicost-"}}
	if err := b.plane.Client.Create(ctx, namespace); err != nil {
		return err
	}
	b.namespace = namespace.Name
	for name, data := range map[string]map[string]string{
		"github": {"github_token": stack.GitHubToken}, "modal": {"token_id": stack.ModalTokenID, "token_secret": stack.ModalSecret},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}, StringData: data}
		if err := b.plane.Client.Create(ctx, secret); err != nil {
			return err
		}
	}
	return b.startManager(ctx, binary)
}

// startManager with its default settings.
func (b *bench) startManager(ctx context.Context, binary string) (err error) {
	b.manager, err = stack.NewManager(stack.ManagerOptions{
		Binary: binary, Kubeconfig: b.plane.ManagerKubeconfig, Namespace: b.namespace, ModalURL: b.modal.URL(),
		WebhookSecret: stack.WebhookSecret, HealInterval: "5m", Arguments: []string{"--namespace=" + b.namespace},
	})
	if err != nil {
		return err
	}
	if err := b.manager.Restart(ctx); err != nil {
		return err
	}
	if b.hook != "" {
		b.github.AddWebhook(b.hook, b.manager.WebhookURL, stack.WebhookSecret)
		b.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: b.drop})
	}
	pool := &v1alpha1.RunnerPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "p"},
		Spec: v1alpha1.RunnerPoolSpec{
			Labels: []v1alpha1.RunnerLabel{"modal"}, MaxConcurrency: 10,
			RunnerTemplate: v1alpha1.RunnerTemplate{GitHub: v1alpha1.GitHub{URL: b.github.URL()}},
		},
	}
	b.pool(&pool.Spec)
	if err := b.plane.Client.Create(ctx, pool); err != nil {
		return err
	}
	return b.until(ctx, "the pool to be ready", func() bool {
		err := b.plane.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)
		return err == nil && meta.IsStatusConditionTrue(pool.Status.Conditions, v1alpha1.ConditionReady)
	})
}

func (b *bench) until(ctx context.Context, what string, done func() bool) error {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// job from its queueing to its end, and how long it was queued.
func (b *bench) job(ctx context.Context, name string) (time.Duration, error) {
	id := b.github.AddQueuedJob(repository, name, []string{"modal"}, "sleep 0.2")
	var job githubsim.Job
	err := b.until(ctx, name, func() bool {
		job, _ = b.github.Job(id)
		return job.Conclusion == "success"
	})
	return job.StartedAt.Sub(job.CreatedAt), err
}

// settle until nothing is left of the jobs.
func (b *bench) settle(ctx context.Context) error {
	return b.until(ctx, "the last runner to go", func() bool {
		var runners v1alpha1.RunnerList
		err := b.plane.Client.List(ctx, &runners, client.InNamespace(b.namespace))
		return err == nil && len(runners.Items) == 0
	})
}

// counts of requests.
type counts struct{ requests, counted, points int }

func (c counts) minus(d counts) counts {
	return counts{c.requests - d.requests, c.counted - d.counted, c.points - d.points}
}

// count all requests so far; those that were answered with 304 do not count towards the hourly limit.
func (b *bench) count() counts {
	var c counts
	for request, n := range b.github.Requests() {
		c.requests += n
		if !strings.HasSuffix(request, " 304") {
			c.counted += n
		}
		if strings.HasPrefix(request, "GET ") {
			c.points += n
		} else {
			c.points += 5 * n
		}
	}
	return c
}

func (b *bench) stop() {
	if b.manager != nil {
		b.manager.Stop()
	}
	if b.modal != nil {
		b.modal.Close()
	}
	b.github.Close()
}
