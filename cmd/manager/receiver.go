package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/ingress"
)

// receive webhooks and do nothing else, until the context ends. It needs what config/components/separate-webhook/role.yaml grants: no lease, no
// mark of the installation, no credential of GitHub's or Modal's.
func (o *options) receive(ctx context.Context, config *rest.Config, scheme *runtime.Scheme, namespace string) error {
	settings := o.manager(config, scheme, namespace, "")
	settings.LeaderElection = false
	settings.Cache.ByObject = map[client.Object]cache.ByObject{&v1alpha1.Runner{}: {Transform: onlyIdentity}}
	mgr, err := ctrl.NewManager(config, settings)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := ingress.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	recorder := &ingress.Recorder{Client: mgr.GetClient(), Live: mgr.GetAPIReader()}
	secrets := credentials.NewStore(mgr.GetAPIReader(), clock.RealClock{}, o.secretTTL)
	if err := o.serve(ctx, mgr, recorder, secrets); err != nil {
		return err
	}
	return mgr.Start(outlive(ctx, o.drain))
}

// onlyIdentity keeps of a Runner what tells its name at GitHub and its sandbox: the receiver notes which sandbox a job runs in,
// and nothing else of Runners.
func onlyIdentity(object any) (any, error) {
	runner, ok := object.(*v1alpha1.Runner)
	if !ok {
		return object, nil
	}
	return &v1alpha1.Runner{
		ObjectMeta: metav1.ObjectMeta{Namespace: runner.Namespace, Name: runner.Name, UID: runner.UID, ResourceVersion: runner.ResourceVersion},
		Spec:       v1alpha1.RunnerSpec{Installation: runner.Spec.Installation},
		Status:     v1alpha1.RunnerStatus{Attempt: runner.Status.Attempt, SandboxID: runner.Status.SandboxID},
	}, nil
}

// validateReceiver refuses what says that the receiver alone shall run, and that it shall not.
func (o *options) validateReceiver() error {
	switch {
	case o.webhookOnly && o.webhookAddress == "0":
		return errors.New("--webhook-only with --webhook-bind-address=0 leaves nothing to run: give the receiver an address")
	case o.webhookOnly && o.leaderElect:
		return errors.New("--webhook-only elects no leader, since every receiver receives: leave out --leader-elect")
	}
	return nil
}

// patience is how long a receiver that was just installed may take to answer.
const patience = time.Minute

// sendPing to a receiver, until one is answered well, and give the process's exit code.
func (o *options) sendPing(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		answered, err := ingress.Ping(ctx, o.ping, o.webhookSecrets)
		if err == nil {
			fmt.Println(answered)
			return 0
		}
		fmt.Fprintln(os.Stderr, err)
		select {
		case <-ctx.Done():
			return 1
		case <-time.After(time.Second):
		}
	}
}
