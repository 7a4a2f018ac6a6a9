package stack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/client-go/tools/clientcmd"
)

// Proxy lies between a manager and the API server, and can be cut.
type Proxy struct {
	// Kubeconfig leads through the proxy.
	Kubeconfig string

	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// NewProxy for who uses a kubeconfig. A copy of it that leads through the proxy goes into folder.
func NewProxy(kubeconfig, folder string) (*Proxy, error) {
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	p := &Proxy{Kubeconfig: filepath.Join(folder, "proxied.kubeconfig"), conns: map[net.Conn]bool{}}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		if err != nil {
			return nil, err
		}
		p.target = server.Host
		server.Host = p.listener.Addr().String()
		cluster.Server = server.String()
	}
	if err := clientcmd.WriteToFile(*config, p.Kubeconfig); err != nil {
		return nil, fmt.Errorf("writing a kubeconfig: %w", err)
	}
	go p.serve()
	return p, nil
}

func (p *Proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.carry(conn)
	}
}

// carry a connection. While the proxy is cut, nothing comes through and nobody is told: packets are lost in a partition.
func (p *Proxy) carry(conn net.Conn) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	p.keep(conn, server)
	defer p.end(conn, server)
	ended := make(chan struct{}, 2)
	for from, to := range map[net.Conn]net.Conn{conn: server, server: conn} {
		go func() {
			_, _ = io.Copy(whileWhole{p, to}, from)
			ended <- struct{}{}
		}()
	}
	<-ended
}

// whileWhole writes what comes while the proxy is not cut, and loses the rest.
type whileWhole struct {
	proxy *Proxy
	to    io.Writer
}

func (w whileWhole) Write(b []byte) (int, error) {
	w.proxy.mu.Lock()
	cut := w.proxy.cut
	w.proxy.mu.Unlock()
	if cut {
		return len(b), nil
	}
	return w.to.Write(b)
}

func (p *Proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.conns[conn] = true
	}
}

func (p *Proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
		_ = conn.Close()
	}
}

// Cut the way to the API server: what is sent is lost, and nobody is told.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

// Mend the way. Connections of before are over, since something is missing in them.
func (p *Proxy) Mend() {
	p.mu.Lock()
	p.cut = false
	broken := p.conns
	p.conns = map[net.Conn]bool{}
	p.mu.Unlock()
	for conn := range broken {
		_ = conn.Close()
	}
}

// Close the proxy.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Mend()
	_ = os.Remove(p.Kubeconfig)
}
