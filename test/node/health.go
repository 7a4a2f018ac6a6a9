package node

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// untilReady is how often probes are asked before a container is ready, where a kubelet keeps to their period.
const untilReady = 200 * time.Millisecond

func running(restarts int32, began metav1.Time) corev1.ContainerStatus {
	return corev1.ContainerStatus{RestartCount: restarts, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}}
}

// startsUp waits until the startup probe succeeds. A container that does not start in the probe's time is killed.
func (p *pod) startsUp(ctx context.Context) bool {
	probe := p.container().StartupProbe
	if probe == nil {
		return true
	}
	late := time.After(seconds(probe.InitialDelaySeconds) + time.Duration(probe.FailureThreshold)*seconds(probe.PeriodSeconds))
	for p.ask(ctx, probe) != nil {
		select {
		case <-ctx.Done():
			return false
		case <-late:
			p.killProcess()
			return false
		case <-time.After(untilReady):
		}
	}
	return ctx.Err() == nil
}

// watchReadiness tells whether the container, that runs, is ready.
func (p *pod) watchReadiness(ctx context.Context, running corev1.ContainerStatus) {
	c := p.container()
	if c.ReadinessProbe == nil {
		p.report(corev1.PodRunning, running, true)
		return
	}
	ready, failures := false, int32(0)
	for {
		period := untilReady
		if ready {
			period = seconds(c.ReadinessProbe.PeriodSeconds)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(period):
		}
		err := p.ask(ctx, c.ReadinessProbe)
		if ctx.Err() != nil {
			return
		}
		failures++
		if err == nil {
			failures = 0
		}
		now := err == nil || ready && failures < c.ReadinessProbe.FailureThreshold
		if now != ready {
			ready = now
			p.report(corev1.PodRunning, running, ready)
		}
	}
}

// watchLife kills the container when it does not live.
func (p *pod) watchLife(ctx context.Context) {
	probe := p.container().LivenessProbe
	if probe == nil {
		return
	}
	pause := seconds(probe.InitialDelaySeconds)
	for failures := int32(0); failures < probe.FailureThreshold; pause = seconds(probe.PeriodSeconds) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := p.ask(ctx, probe); err != nil && ctx.Err() == nil {
			failures++
			_, _ = fmt.Fprintf(&p.log, "liveness probe: %v\n", err)
		} else {
			failures = 0
		}
	}
	p.killProcess()
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// ask a probe.
func (p *pod) ask(ctx context.Context, probe *corev1.Probe) error {
	get := probe.HTTPGet
	if get == nil {
		return fmt.Errorf("this Node asks HTTP probes only, not %v", probe.ProbeHandler)
	}
	address, err := p.addressOf(get.Port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, max(seconds(probe.TimeoutSeconds), time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+get.Path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s answered %s", get.Path, resp.Status)
	}
	return nil
}

// addressOf a port of the container, by number or name, on this machine.
func (p *pod) addressOf(port intstr.IntOrString) (string, error) {
	number := strconv.Itoa(port.IntValue())
	if port.Type == intstr.String {
		number = ""
		for _, declared := range p.container().Ports {
			if declared.Name == port.StrVal {
				number = strconv.Itoa(int(declared.ContainerPort))
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at, listens := p.ports[number]
	if !listens || at.loopback {
		return "", fmt.Errorf("nothing listens on port %s of Pod %s", port.String(), p.name)
	}
	return at.address, nil
}
