package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// BuildManager compiles the manager of the repository at root into folder and gives its path.
func BuildManager(ctx context.Context, root, folder string) (string, error) {
	path := filepath.Join(folder, "manager")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./cmd/manager")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the manager: %w\n%s", err, out)
	}
	return path, nil
}

// ManagerOptions say how to run the manager.
type ManagerOptions struct {
	// Binary of the manager.
	Binary string
	// Kubeconfig that it uses.
	Kubeconfig string
	// Namespace that it runs in.
	Namespace string
	// ModalURL of the Modal simulator.
	ModalURL string
	// WebhookSecret that deliveries are signed with.
	WebhookSecret string
	// HealInterval tells the manager its own address, and how often it looks there for failed deliveries; empty does not.
	HealInterval string
	// Arguments beside those that the stack gives.
	Arguments []string
	// Environment beside the stack's own, as NAME=VALUE.
	Environment []string
	// Log that the manager's own goes to, beside Manager.Log.
	Log io.Writer
}

// Manager is a running manager process.
type Manager struct {
	// WebhookURL that GitHub delivers to. It stays the same over restarts.
	WebhookURL string

	options ManagerOptions
	folder  string
	webhook string
	probe   string
	metrics string
	page    string
	log     Buffer
	process *exec.Cmd
	ended   chan struct{}
}

// NewManager that is not started yet; Restart starts it.
func NewManager(options ManagerOptions) (*Manager, error) {
	folder, err := os.MkdirTemp("", "modal-runner-manager-")
	if err != nil {
		return nil, err
	}
	m := &Manager{options: options, folder: folder}
	for _, address := range []*string{&m.webhook, &m.probe, &m.metrics, &m.page} {
		if *address, err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	m.WebhookURL = "http://" + m.webhook + "/webhook"
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte(options.WebhookSecret), 0o600); err != nil {
		return nil, err
	}
	m.ended = make(chan struct{})
	close(m.ended)
	return m, nil
}

// Restart the process, or start it for the first time, and wait until it is ready.
func (m *Manager) Restart(ctx context.Context) error {
	arguments := []string{
		"--webhook-bind-address=" + m.webhook,
		"--health-probe-bind-address=" + m.probe,
		"--metrics-bind-address=" + m.metrics,
		"--metrics-secure=false",
		"--ui-bind-address=" + m.page,
		"--webhook-secret-dir=" + m.folder,
		"--zap-log-level=debug",
		"--drain=100ms",
	}
	if m.options.HealInterval != "" {
		arguments = append(arguments, "--webhook-url=http://"+m.webhook, "--webhook-heal-interval="+m.options.HealInterval)
	}
	m.process = exec.Command(m.options.Binary, append(arguments, m.options.Arguments...)...)
	m.process.Env = append(os.Environ(),
		"KUBECONFIG="+m.options.Kubeconfig, "POD_NAMESPACE="+m.options.Namespace, "MODAL_SERVER_URL="+m.options.ModalURL)
	m.process.Env = append(m.process.Env, m.options.Environment...)
	out := io.Writer(&m.log)
	if m.options.Log != nil {
		out = io.MultiWriter(&m.log, m.options.Log)
	}
	m.process.Stdout, m.process.Stderr = out, out
	if err := m.process.Start(); err != nil {
		return fmt.Errorf("starting the manager: %w", err)
	}
	m.ended = make(chan struct{})
	go func() {
		_ = m.process.Wait()
		close(m.ended)
	}()
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		select {
		case <-m.ended:
			return false, fmt.Errorf("it ended:\n%s", m.Log())
		default:
			return m.get(ctx, m.probe, "/readyz") == nil, nil
		}
	})
	if err != nil {
		return fmt.Errorf("waiting for the manager to be ready: %w", err)
	}
	return nil
}

func (m *Manager) get(ctx context.Context, address, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", path, resp.Status)
	}
	return nil
}

// MetricsAddress is where the manager serves /metrics, without TLS.
func (m *Manager) MetricsAddress() string { return m.metrics }

// PID of the process as it was started last.
func (m *Manager) PID() int { return m.process.Process.Pid }

// Ended says that the process is not running.
func (m *Manager) Ended() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// StatusPage is the address of the manager's status page.
func (m *Manager) StatusPage() string { return "http://" + m.page + "/ui" }

// Log is all that the manager has written, over all its restarts.
func (m *Manager) Log() string { return m.log.String() }

// Kill the process as kill -9 does, and wait until it is gone.
func (m *Manager) Kill() {
	if m.process != nil {
		_ = m.process.Process.Kill()
	}
	<-m.ended
}

// Terminate the process as Kubernetes does, and wait until it is gone. It may be started again.
func (m *Manager) Terminate() {
	if m.process != nil {
		_ = m.process.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		m.Kill()
	}
}

// Stop the process for good.
func (m *Manager) Stop() {
	m.Terminate()
	_ = os.RemoveAll(m.folder)
}

// firstPort and lastPort bound the managers' ports: below those that the kernel gives to outgoing connections, which could
// otherwise take a manager's port while it is restarted.
const (
	firstPort = 15000
	lastPort  = 31000
)

var ports = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// FreeAddress on this machine that nobody else is given.
func FreeAddress() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	for range lastPort - firstPort {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.given[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		ports.given[port] = true
		return listener.Addr().String(), listener.Close()
	}
	return "", errors.New("no port is free")
}

// Buffer is written while it is read.
type Buffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// String is what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Clone(b.buffer.String())
}
