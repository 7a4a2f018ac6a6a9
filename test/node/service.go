package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Expose a port of a Service on this machine, as a load balancer does, until the context ends: each connection goes to one
// of the Service's endpoints that are ready, and to one that is ending where none is. The Service may come and go meanwhile.
func (n *Node) Expose(ctx context.Context, namespace, service, port string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	n.workers.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go n.serve(ctx, connection, namespace, service, port)
		}
	})
	context.AfterFunc(n.ctx, func() { _ = listener.Close() })
	return listener.Addr().String(), nil
}

// resolve a Service's port, by its number, to an address on this machine.
func (n *Node) resolve(ctx context.Context, namespace, service, number string) (string, error) {
	found, err := n.client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, port := range found.Spec.Ports {
		if strconv.Itoa(int(port.Port)) == number {
			return n.Expose(ctx, namespace, service, port.Name)
		}
	}
	return "", fmt.Errorf("the Service %s/%s has no port %s", namespace, service, number)
}

func (n *Node) serve(ctx context.Context, from net.Conn, namespace, service, port string) {
	defer func() { _ = from.Close() }()
	to, err := n.Dial(ctx, namespace, service, port)
	if err != nil {
		return // a closed connection is how it shows
	}
	defer func() { _ = to.Close() }()
	go func() {
		_, _ = io.Copy(to, from)
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(from, to)
}

// Dial a port of a Service, by its name.
func (n *Node) Dial(ctx context.Context, namespace, service, port string) (net.Conn, error) {
	endpoints, err := n.endpoints(ctx, namespace, service, port)
	if err != nil {
		return nil, err
	}
	failed := []error{fmt.Errorf("port %s of Service %s/%s has no endpoint that is reached", port, namespace, service)}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	for _, i := range rand.Perm(len(endpoints)) {
		connection, err := dialer.DialContext(ctx, "tcp", endpoints[i])
		if err == nil {
			return connection, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

// endpoints of a Service that are ready, or those that still serve while they end when none is: their addresses here.
func (n *Node) endpoints(ctx context.Context, namespace, service, port string) ([]string, error) {
	slices, err := n.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	if err != nil {
		return nil, err
	}
	var ready, ending []string
	for _, slice := range slices.Items {
		for _, p := range slice.Ports {
			if ptr.Deref(p.Name, "") != port {
				continue
			}
			for _, e := range slice.Endpoints {
				address := n.reach(e.Addresses[0], int(ptr.Deref(p.Port, 0)))
				switch {
				case address == "":
				case ptr.Deref(e.Conditions.Ready, true):
					ready = append(ready, address)
				case ptr.Deref(e.Conditions.Serving, false):
					ending = append(ending, address)
				}
			}
		}
	}
	if len(ready) > 0 {
		return ready, nil
	}
	return ending, nil
}

// reach gives the address on this machine of a Pod's port, empty when nothing listens there for others.
func (n *Node) reach(ip string, port int) string {
	p := n.byIP(ip)
	if p == nil {
		return ""
	}
	address, err := p.addressOf(intstr.FromInt(port))
	if err != nil {
		return ""
	}
	return address
}
