package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// pod that runs here.
type pod struct {
	node            *Node
	object          *corev1.Pod // as it came: its spec does not change
	namespace, name string
	ip              string
	log             stack.Buffer
	// told is done when the Pod is to end, dead when it must be dead at once.
	told, dead context.Context
	tell, kill context.CancelFunc

	mu        sync.Mutex
	grace     time.Duration
	ports     map[string]place
	rewritten []string
	process   *os.Process
	status    corev1.PodStatus
}

func newPod(n *Node, object *corev1.Pod, number int) *pod {
	p := &pod{
		node: n, object: object, namespace: object.Namespace, name: object.Name, ports: map[string]place{},
		ip: fmt.Sprintf("10.244.%d.%d", number/250, number%250+1),
	}
	p.dead, p.kill = context.WithCancel(n.ctx)
	p.told, p.tell = context.WithCancel(p.dead)
	p.status = corev1.PodStatus{
		Phase: corev1.PodPending, HostIP: "10.0.0.1", PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}}, StartTime: ptr.To(metav1.Now()),
	}
	return p
}

// seen is called with every version of the Pod.
func (p *pod) seen(object *corev1.Pod) {
	if object.DeletionTimestamp.IsZero() {
		return
	}
	p.mu.Lock()
	p.grace = time.Duration(ptr.Deref(object.DeletionGracePeriodSeconds, 0)) * time.Second
	p.mu.Unlock()
	p.tell()
}

// live is the Pod's life.
func (p *pod) live() {
	defer func() { _ = os.RemoveAll(p.node.podFolder(p.object.UID)) }()
	again := retryEvery
	for restarts := int32(0); p.told.Err() == nil; {
		command, err := p.prepare()
		if err != nil {
			p.waiting(err, restarts)
			p.pause(retryEvery)
			continue
		}
		exit := p.run(command, restarts)
		if p.told.Err() != nil {
			break
		}
		if p.over(exit) {
			<-p.told.Done()
			break
		}
		restarts++
		p.waiting(unready{"CrashLoopBackOff", fmt.Errorf("it ended with %d", exit)}, restarts)
		p.pause(again)
		again = min(2*again, 10*time.Second)
	}
	p.remove()
}

func (p *pod) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.told.Done():
	}
}

// unready is why a container does not run, in the kubelet's words.
type unready struct {
	reason string
	error
}

// prepare all that the container's process needs.
func (p *pod) prepare() (*exec.Cmd, error) {
	if len(p.object.Spec.Containers) != 1 || len(p.object.Spec.InitContainers) > 0 {
		return nil, unready{"CreateContainerConfigError", errors.New("this Node runs Pods of one container")}
	}
	c := p.container()
	program, exists := p.node.options.Program(c.Image)
	if !exists {
		return nil, unready{"ErrImagePull", fmt.Errorf("there is no image %s", c.Image)}
	}
	if err := p.mount(p.told); err != nil {
		return nil, unready{"ContainerCreating", err}
	}
	environment, err := p.environment(p.told)
	if err != nil {
		return nil, unready{"CreateContainerConfigError", err}
	}
	arguments, err := p.arguments(p.told, environment)
	if err != nil {
		return nil, unready{"CreateContainerConfigError", err}
	}
	command := exec.Command(program, arguments...)
	command.Env = environment.list()
	command.Stdout, command.Stderr = &p.log, &p.log
	return command, nil
}

func (p *pod) container() *corev1.Container { return &p.object.Spec.Containers[0] }

// run the container once, until it ends by itself or is ended, and give its exit code.
func (p *pod) run(command *exec.Cmd, restarts int32) int32 {
	p.mu.Lock()
	err := command.Start()
	if err == nil {
		p.process = command.Process
	}
	p.mu.Unlock()
	if err != nil {
		_, _ = fmt.Fprintf(&p.log, "the container does not start: %v\n", err)
		return 128
	}
	began := metav1.Now()
	ctx, end := context.WithCancel(p.dead)
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	var helpers sync.WaitGroup
	helpers.Go(func() { p.refresh(ctx) })
	helpers.Go(func() {
		p.report(corev1.PodRunning, running(restarts, began), false)
		if !p.startsUp(ctx) {
			return
		}
		helpers.Go(func() { p.watchLife(ctx) })
		p.watchReadiness(ctx, running(restarts, began))
	})
	select {
	case <-ended:
	case <-p.told.Done():
		p.terminate(command.Process, ended)
	}
	end()
	helpers.Wait()
	p.mu.Lock()
	p.process = nil
	p.mu.Unlock()
	return int32(command.ProcessState.ExitCode())
}

// terminate as a kubelet does: the signal, the grace, the kill.
func (p *pod) terminate(process *os.Process, ended <-chan struct{}) {
	_ = process.Signal(syscall.SIGTERM)
	p.mu.Lock()
	grace := p.grace
	p.mu.Unlock()
	select {
	case <-ended:
		return
	case <-p.dead.Done():
	case <-time.After(grace):
		_, _ = fmt.Fprintf(&p.log, "killed after a grace period of %s\n", grace)
	}
	_ = process.Kill()
	<-ended
}

func (p *pod) killProcess() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		_ = p.process.Kill()
	}
}

// over says whether the Pod is, by its restart policy, and tells so.
func (p *pod) over(exit int32) bool {
	policy := p.object.Spec.RestartPolicy
	if policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && exit != 0 {
		return false
	}
	phase, reason := corev1.PodSucceeded, "Completed"
	if exit != 0 {
		phase, reason = corev1.PodFailed, "Error"
	}
	p.report(phase, corev1.ContainerStatus{
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit, Reason: reason, FinishedAt: metav1.Now()}},
	}, false)
	return true
}

func (p *pod) waiting(err error, restarts int32) {
	var why unready
	errors.As(err, &why)
	phase := corev1.PodPending
	if restarts > 0 {
		phase = corev1.PodRunning
	}
	p.report(phase, corev1.ContainerStatus{
		RestartCount: restarts, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: why.reason, Message: why.Error()}},
	}, false)
}

// remove the Pod from the API server, which waits for its Node to do so.
func (p *pod) remove() {
	if p.dead.Err() != nil {
		return
	}
	if p.status.Phase == corev1.PodRunning || p.status.Phase == corev1.PodPending {
		p.report(corev1.PodSucceeded, corev1.ContainerStatus{
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", FinishedAt: metav1.Now()}},
		}, false)
	}
	for p.dead.Err() == nil {
		err := p.node.client.CoreV1().Pods(p.namespace).Delete(p.dead, p.name, metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(p.object.UID)),
		})
		if err == nil {
			<-p.dead.Done() // the watch tells that it is gone
			return
		}
		select {
		case <-time.After(retryEvery):
		case <-p.dead.Done():
		}
	}
}

func (p *pod) rewrittenFlags() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.rewritten)
}
