package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// place on this machine where a port of a Pod is.
type place struct {
	address string
	// loopback is for one that only the Pod itself reaches.
	loopback bool
}

// variables of a container's environment.
type variables map[string]string

func (v variables) list() []string {
	var out []string
	for name, value := range v {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

var reference = regexp.MustCompile(`\$\(([A-Za-z_][A-Za-z0-9_]*)\)`)

// expand references to variables, as the kubelet does in values and arguments.
func (v variables) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		if value, known := v[reference.FindStringSubmatch(found)[1]]; known {
			return value
		}
		return found
	})
}

// environment of the container, and of the images that it may stand for: a PATH, and a home that nobody can write to. What a
// program finds at fixed places in a Pod, it is told of: the API server and the token in a kubeconfig, and /tmp.
func (p *pod) environment(ctx context.Context) (variables, error) {
	v := variables{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
	if len(p.container().EnvFrom) > 0 {
		return nil, fmt.Errorf("this Node does not know envFrom")
	}
	for _, e := range p.container().Env {
		value, err := p.variable(ctx, e, v)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", e.Name, err)
		}
		v[e.Name] = value
	}
	for _, m := range p.container().VolumeMounts {
		switch m.MountPath {
		case accountPath:
			path, err := p.kubeconfig(p.volumeFolder(m.Name))
			if err != nil {
				return nil, err
			}
			v["KUBECONFIG"] = path
		case "/tmp":
			v["TMPDIR"] = p.volumeFolder(m.Name)
		}
	}
	return v, nil
}

func (p *pod) variable(ctx context.Context, e corev1.EnvVar, before variables) (string, error) {
	if e.ValueFrom == nil {
		return before.expand(e.Value), nil
	}
	switch from := e.ValueFrom; {
	case from.FieldRef != nil:
		return p.field(from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		return p.resource(from.ResourceFieldRef)
	case from.SecretKeyRef != nil:
		secret, err := p.node.client.CoreV1().Secrets(p.namespace).Get(ctx, from.SecretKeyRef.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return string(secret.Data[from.SecretKeyRef.Key]), nil
	case from.ConfigMapKeyRef != nil:
		config, err := p.node.client.CoreV1().ConfigMaps(p.namespace).Get(ctx, from.ConfigMapKeyRef.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return config.Data[from.ConfigMapKeyRef.Key], nil
	}
	return "", fmt.Errorf("this Node does not know where it is from")
}

// field of the Pod, by the paths of the downward API.
func (p *pod) field(path string) (string, error) {
	switch path {
	case "metadata.namespace":
		return p.namespace, nil
	case "metadata.name":
		return p.name, nil
	case "metadata.uid":
		return string(p.object.UID), nil
	case "spec.nodeName":
		return p.node.options.Name, nil
	case "spec.serviceAccountName":
		return p.object.Spec.ServiceAccountName, nil
	case "status.podIP":
		return p.ip, nil
	}
	return "", fmt.Errorf("this Node does not know the field %s", path)
}

func (p *pod) resource(ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := map[string]corev1.ResourceList{"limits": p.container().Resources.Limits, "requests": p.container().Resources.Requests}[kind]
	quantity, given := list[corev1.ResourceName(name)]
	if !given {
		return "", fmt.Errorf("the container has no %s", ref.Resource)
	}
	value := quantity.Value()
	if divisor := ref.Divisor.Value(); divisor > 1 {
		value = (value + divisor - 1) / divisor
	}
	return fmt.Sprint(value), nil
}

// arguments of the container, as they must be outside of one.
func (p *pod) arguments(ctx context.Context, v variables) ([]string, error) {
	if len(p.container().Command) > 0 {
		return nil, fmt.Errorf("this Node starts what the image says, not %v", p.container().Command)
	}
	var out []string
	given := map[string]bool{}
	for _, argument := range p.container().Args {
		translated, err := p.translate(ctx, v.expand(argument))
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", argument, err)
		}
		flag, _, _ := strings.Cut(argument, "=")
		given[flag] = true
		out = append(out, translated)
	}
	for _, m := range p.container().VolumeMounts {
		if flag, looked := p.node.options.Places[m.MountPath]; looked && !given[flag] {
			p.noteRewritten(flag)
			out = append(out, flag+"="+p.volumeFolder(m.Name))
		}
	}
	return out, nil
}

// translate an argument that names an address to listen on (--...-bind-address), a mounted folder or a Service. All others stay
// as they are.
func (p *pod) translate(ctx context.Context, argument string) (string, error) {
	flag, value, _ := strings.Cut(argument, "=")
	if strings.HasSuffix(flag, "-bind-address") && value != "0" && value != "" {
		host, port, err := net.SplitHostPort(value)
		if err != nil {
			return "", err
		}
		address, err := p.listen(port, host == "127.0.0.1" || host == "localhost")
		p.noteRewritten(flag)
		return flag + "=" + address, err
	}
	for _, m := range p.container().VolumeMounts {
		if value == m.MountPath || strings.HasPrefix(value, m.MountPath+"/") {
			p.noteRewritten(flag)
			return flag + "=" + filepath.Join(p.volumeFolder(m.Name), strings.TrimPrefix(value, m.MountPath)), nil
		}
	}
	if found := serviceHost.FindStringSubmatch(value); found != nil {
		address, err := p.node.resolve(ctx, found[2], found[1], found[3])
		p.noteRewritten(flag)
		return strings.Replace(argument, found[0], address, 1), err
	}
	return argument, nil
}

// serviceHost is NAME.NAMESPACE.svc:PORT.
var serviceHost = regexp.MustCompile(`\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc:([0-9]+)\b`)

func (p *pod) noteRewritten(flag string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rewritten = append(p.rewritten, flag)
}

// listen gives the address on this machine of a port of the Pod, the same one after a restart.
func (p *pod) listen(port string, loopback bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, known := p.ports[port]; known {
		return at.address, nil
	}
	address, err := stack.FreeAddress()
	if err != nil {
		return "", err
	}
	p.ports[port] = place{address: address, loopback: loopback}
	return address, nil
}
