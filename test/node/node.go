// Package node is the one Node of a cluster without machines. It takes the parts of the scheduler, the kubelet and the
// proxy: it binds Pods to itself, runs the program that their image stands for as a process of this machine, with the
// container's arguments and environment, its volumes' contents in folders and the token of the Pod's ServiceAccount; it asks
// the container's probes, tells the Pod's status, ends Pods with their grace period, and leads connections to Services to
// their endpoints.
//
// What a container has and a process has not is translated where it shows: ports are others on this machine, so the
// arguments that name an address to listen on are rewritten, and so are those that name a mounted folder or a Service. A
// mounted folder that the program would look at by itself, it is told of. Nothing else is changed.
package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Options of a Node.
type Options struct {
	// Name of the Node.
	Name string
	// Config of an administrator of the cluster.
	Config *rest.Config
	// Program that an image stands for. An image without one cannot be pulled.
	Program func(image string) (path string, exists bool)
	// Places that the programs look at without being told: the flag that names another folder, by the path in the container.
	Places map[string]string
}

// Node that runs Pods.
type Node struct {
	options Options
	client  kubernetes.Interface
	folder  string
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu   sync.Mutex
	pods map[types.UID]*pod
	// all that ever ran here, in the order of their coming.
	all []*pod
}

// Start a Node.
func Start(ctx context.Context, options Options) (*Node, error) {
	client, err := kubernetes.NewForConfig(options.Config)
	if err != nil {
		return nil, fmt.Errorf("making the Node's client: %w", err)
	}
	folder, err := os.MkdirTemp("", "modal-runner-node-")
	if err != nil {
		return nil, err
	}
	n := &Node{options: options, client: client, folder: folder, pods: map[types.UID]*pod{}}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.register(ctx); err != nil {
		n.Stop()
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.seen(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { n.seen(o.(*corev1.Pod)) },
		DeleteFunc: n.gone,
	}); err != nil {
		n.Stop()
		return nil, fmt.Errorf("watching Pods: %w", err)
	}
	factory.Start(n.ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced) {
		n.Stop()
		return nil, fmt.Errorf("watching Pods: %w", ctx.Err())
	}
	return n, nil
}

// register the Node with the API server.
func (n *Node) register(ctx context.Context) error {
	made, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.options.Name, Labels: map[string]string{corev1.LabelHostname: n.options.Name, corev1.LabelOSStable: "linux"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("registering the Node: %w", err)
	}
	made.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Ready", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
	}}
	if _, err := n.client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("telling that the Node is ready: %w", err)
	}
	return nil
}

// Stop the Node and kill what runs on it.
func (n *Node) Stop() {
	n.cancel()
	n.workers.Wait()
	_ = os.RemoveAll(n.folder)
}

func (n *Node) seen(object *corev1.Pod) {
	if object.Spec.NodeName == "" {
		if object.DeletionTimestamp.IsZero() {
			n.bind(object)
		}
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p, known := n.pods[object.UID]
	if !known {
		if object.Spec.NodeName != n.options.Name || n.ctx.Err() != nil {
			return
		}
		p = newPod(n, object, len(n.all)+1)
		n.pods[object.UID] = p
		n.all = append(n.all, p)
		n.workers.Go(p.live)
	}
	p.seen(object)
}

func (n *Node) gone(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	object, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, known := n.pods[object.UID]; known {
		p.kill()
		delete(n.pods, object.UID)
	}
}

// bind a Pod to this Node, as the scheduler does.
func (n *Node) bind(object *corev1.Pod) {
	n.workers.Go(func() {
		err := n.client.CoreV1().Pods(object.Namespace).Bind(n.ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: n.options.Name},
		}, metav1.CreateOptions{})
		// A conflict is an update that was seen before the one that the binding made.
		if err != nil && n.ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			fmt.Fprintf(os.Stderr, "binding Pod %s/%s: %v\n", object.Namespace, object.Name, err)
		}
	})
}

// Logs of all containers that ran here for Pods of a namespace, ended or not, by the Pod's name.
func (n *Node) Logs(namespace string) map[string]string {
	logs := map[string]string{}
	for _, p := range n.of(namespace) {
		logs[p.name] = p.log.String()
	}
	return logs
}

// Rewritten are the flags whose values were translated, in all containers that ran for Pods of a namespace.
func (n *Node) Rewritten(namespace string) map[string]bool {
	flags := map[string]bool{}
	for _, p := range n.of(namespace) {
		for _, flag := range p.rewrittenFlags() {
			flags[flag] = true
		}
	}
	return flags
}

// Kill the process of a Pod, as a node's kernel may at any time. It is started again as its restart policy says.
func (n *Node) Kill(namespace, name string) {
	for _, p := range n.of(namespace) {
		if p.name == name {
			p.killProcess()
		}
	}
}

func (n *Node) of(namespace string) []*pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []*pod
	for _, p := range n.all {
		if p.namespace == namespace {
			found = append(found, p)
		}
	}
	return found
}

// byIP finds a Pod that is alive.
func (n *Node) byIP(ip string) *pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		if p.ip == ip {
			return p
		}
	}
	return nil
}

// podFolder is where a Pod's volumes are.
func (n *Node) podFolder(uid types.UID) string { return filepath.Join(n.folder, string(uid)) }

// retryEvery is how often what a Pod lacks is looked for, where a kubelet takes longer.
const retryEvery = 500 * time.Millisecond
