package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// floorWriters is how many create at once, for the floor: as many as deliveries are under way at once, and as many as a pool
// creates Runners at once.
const floorWriters = 16

// floor is what the API server and the simulator of Modal can do on this machine with nothing else to do.
type floor struct {
	// writes is how long it takes to create a WorkflowJob and a Runner for each job, of the same size as the product's.
	writes             time.Duration
	createsPerSecond   float64
	sandboxesPerSecond float64
}

// floor for so many jobs, with objects as the product has made them.
func (b *bench) floor(ctx context.Context, o *outcome, jobs int) (floor, error) {
	var f floor
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "floor-"}}
	if err := b.plane.Client.Create(ctx, namespace); err != nil {
		return f, err
	}
	writer, err := b.writer()
	if err != nil {
		return f, err
	}
	var took time.Duration
	for _, one := range []func(i int) client.Object{
		func(i int) client.Object {
			job := o.job.DeepCopy()
			job.ObjectMeta = fresh(&o.job, namespace.Name, i)
			return job
		},
		func(i int) client.Object {
			runner := o.runner.DeepCopy()
			runner.ObjectMeta, runner.Status = fresh(&o.runner, namespace.Name, i), v1alpha1.RunnerStatus{}
			return runner
		},
	} {
		objects := many(jobs, one)
		begun := time.Now()
		if err := createAll(ctx, writer, objects); err != nil {
			return f, err
		}
		took += time.Since(begun)
	}
	f.writes, f.createsPerSecond = took, float64(2*jobs)/took.Seconds()
	in := client.InNamespace(namespace.Name)
	if err := errors.Join(b.plane.Client.DeleteAllOf(ctx, &v1alpha1.WorkflowJob{}, in), b.plane.Client.DeleteAllOf(ctx, &v1alpha1.Runner{}, in)); err != nil {
		return f, err
	}
	f.sandboxesPerSecond, err = sandboxesPerSecond(ctx, jobs)
	return f, err
}

// writer is a client as the manager has one, with its user.
func (b *bench) writer() (client.Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.plane.ManagerKubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return client.New(config, client.Options{Scheme: b.plane.Client.Scheme()})
}

// fresh metadata of the same size, without the finalizer that would need a manager to remove it.
func fresh(of client.Object, namespace string, i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("floor-%d", i), Labels: of.GetLabels()}
}

func many(count int, one func(int) client.Object) []client.Object {
	all := make([]client.Object, count)
	for i := range all {
		all[i] = one(i)
	}
	return all
}

func createAll(ctx context.Context, writer client.Client, objects []client.Object) error {
	failures := make([]error, len(objects))
	workqueue.ParallelizeUntil(ctx, floorWriters, len(objects), func(i int) { failures[i] = writer.Create(ctx, objects[i]) })
	return errors.Join(failures...)
}

// sandboxesPerSecond that the SDK creates at the simulator, with a command and an environment as the product's have.
func sandboxesPerSecond(ctx context.Context, count int) (float64, error) {
	server := modalsim.New(modalsim.Options{})
	if err := server.Start("127.0.0.1:0"); err != nil {
		return 0, err
	}
	defer server.Close()
	server.AddToken(stack.ModalTokenID, stack.ModalSecret)
	for name, value := range map[string]string{"MODAL_SERVER_URL": server.URL(), "MODAL_CONFIG_PATH": os.DevNull, "MODAL_IMAGE_BUILDER_VERSION": "2025.06"} {
		if err := os.Setenv(name, value); err != nil {
			return 0, err
		}
	}
	account, err := sdk.NewClientWithOptions(&sdk.ClientParams{TokenID: stack.ModalTokenID, TokenSecret: stack.ModalSecret})
	if err != nil {
		return 0, err
	}
	defer account.Close()
	app, err := account.Apps.FromName(ctx, "floor", &sdk.AppFromNameParams{CreateIfMissing: true})
	if err != nil {
		return 0, err
	}
	image, err := account.Images.FromRegistry("ubuntu:24.04", nil).Build(ctx, app)
	if err != nil {
		return 0, err
	}
	failures, begun := make([]error, count), time.Now()
	workqueue.ParallelizeUntil(ctx, floorWriters, count, func(i int) {
		_, failures[i] = account.Sandboxes.Create(ctx, app, image, &sdk.SandboxCreateParams{
			Name: fmt.Sprintf("floor-%d", i), Command: []string{"/bin/sh"}, Timeout: time.Hour, Env: map[string]string{"CONFIG": jitSized},
		})
	})
	return float64(count) / time.Since(begun).Seconds(), errors.Join(failures...)
}

// jitSized is a value as long as a JIT config.
var jitSized = strings.Repeat("0123456789abcdef", 256)
