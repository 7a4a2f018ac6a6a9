package node

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// report the Pod's status, if it is another than before, until the API server has it.
func (p *pod) report(phase corev1.PodPhase, container corev1.ContainerStatus, ready bool) {
	c := p.container()
	container.Name, container.Image, container.ImageID = c.Name, c.Image, c.Image
	container.Ready, container.Started = ready, ptr.To(container.State.Running != nil)
	p.mu.Lock()
	status := p.status
	p.mu.Unlock()
	status.Phase = phase
	status.ContainerStatuses = []corev1.ContainerStatus{container}
	reason := ""
	if phase == corev1.PodSucceeded {
		reason = "PodCompleted"
	}
	status.Conditions = nil
	for kind, holds := range map[corev1.PodConditionType]bool{
		corev1.PodInitialized: true, corev1.ContainersReady: ready, corev1.PodReady: ready, corev1.PodReadyToStartContainers: true,
	} {
		condition := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}
		if !holds {
			condition.Status, condition.Reason = corev1.ConditionFalse, reason
		}
		status.Conditions = append(status.Conditions, condition)
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.object.UID}, "status": status,
	})
	if err != nil {
		panic(err) // a status can be marshalled
	}
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
	for p.dead.Err() == nil {
		ctx, cancel := context.WithTimeout(p.dead, 10*time.Second)
		_, err := p.node.client.CoreV1().Pods(p.namespace).Patch(ctx, p.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		cancel()
		if err == nil {
			return
		}
		select {
		case <-time.After(retryEvery):
		case <-p.dead.Done():
		}
	}
}
