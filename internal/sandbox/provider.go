// Package sandbox is what the controllers know of Modal, in the project's own words. Package modal implements it; errors
// are classified (package fault).
package sandbox

import (
	"context"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

// Providers gives the Provider for the app and credentials that a pool names.
type Providers interface {
	// For gives the provider with the credentials of the pool's Secret as they are now. Errors are of class
	// SecretMissing, SecretInvalid or Transient.
	For(ctx context.Context, namespace string, modal v1alpha1.Modal) (Provider, error)
}

// Provider makes, watches and removes the sandboxes of one app with one credential. Every call has a deadline of its own
// and is safe to repeat.
type Provider interface {
	// Check that the credentials are accepted and the app exists; it is created when missing.
	Check(ctx context.Context) error
	// CheckReferences that a sandbox refers to by name: NotFound says what does not exist. Volumes that may be created are.
	CheckReferences(ctx context.Context, references References) error
	// BuildImage and give its ID; an image that was built before from the same recipe is not built again. It may take
	// many minutes. A build that fails is Invalid, with what it said last as the message.
	BuildImage(ctx context.Context, recipe Recipe) (id string, err error)
	// CheckImage that exists. NotFound: it does not, or no more.
	CheckImage(ctx context.Context, id string) error
	// Create a sandbox. Conflict: one of that name is running. NotFound: its image or something that it refers to is gone.
	Create(ctx context.Context, request Request) (id string, err error)
	// Find the running sandbox of that name. NotFound: none is running.
	Find(ctx context.Context, name string) (id string, err error)
	// State of a sandbox, running or ended. A sandbox that Modal has forgotten has ended.
	State(ctx context.Context, id string) (State, error)
	// Terminate a sandbox. One that has ended already is no error.
	Terminate(ctx context.Context, id string) error
	// Tag a sandbox with exactly these tags.
	Tag(ctx context.Context, id string, tags map[string]string) error
	// List the running sandboxes of the app, whoever made them, by ID: all of them, or an error.
	List(ctx context.Context) (map[string]Listed, error)
	// Log gives the end of what a sandbox has written, at most so many bytes.
	Log(ctx context.Context, id string, limit int) (string, error)
}

// URL of a sandbox's page in Modal's dashboard; empty without an ID.
func URL(id string) string {
	if id == "" {
		return ""
	}
	return "https://modal.com/id/" + id
}

// Listed is what a list tells of a sandbox.
type Listed struct {
	// Name that the sandbox was given, empty when none was.
	Name string
}

// Request for a sandbox.
type Request struct {
	// Name is unique among the running sandboxes of an app: 1 to 64 characters of A-Z a-z 0-9 . _ -
	Name string
	// ImageID of a built image.
	ImageID string
	// Command that the sandbox runs; it ends with it.
	Command []string
	// Env holds the variables that the command sees; their values may be secrets and never show up anywhere else.
	Env map[string]credentials.Redacted
	// MilliCPU reserved and, unless 0, the most it can use, in thousandths of a physical core.
	MilliCPU, MilliCPULimit int64
	// MemoryMiB reserved and, unless 0, the most it can use.
	MemoryMiB, MemoryLimitMiB int64
	// GPU by Modal's name, or empty.
	GPU string
	// Timeout of the sandbox's life, in whole seconds.
	Timeout time.Duration
	// Cloud and Regions that it may run in; anywhere when empty.
	Cloud   string
	Regions []string
	// Network that it reaches.
	Network Network
	// Workdir of the command; the image's own when empty.
	Workdir string
	// References to what has a name at Modal.
	References References
	// ExperimentalOptions of Modal.
	ExperimentalOptions map[string]bool
	// Verbose has Modal log more.
	Verbose bool
}

// Network that a sandbox reaches: everything, nothing, or where Allowed is not empty those ranges alone.
type Network struct {
	Blocked bool
	Allowed []string
}

// References to what has a name at Modal.
type References struct {
	// Secrets whose keys become variables.
	Secrets []string
	// Proxy in front of the sandbox, or empty.
	Proxy string
	// Volumes and Buckets by the path at which they are mounted.
	Volumes map[string]Volume
	Buckets map[string]Bucket
}

// None says that nothing is referred to.
func (r References) None() bool {
	return len(r.Secrets) == 0 && r.Proxy == "" && len(r.Volumes) == 0 && len(r.Buckets) == 0
}

// Volume to be mounted.
type Volume struct {
	Name                      string
	ReadOnly, CreateIfMissing bool
}

// Bucket to be mounted.
type Bucket struct {
	Name string
	// Secret with its credentials, by name, or empty.
	Secret                          string
	RoleARN, EndpointURL, KeyPrefix string
	ReadOnly, RequesterPays         bool
}

// State of a sandbox.
type State struct {
	// Running is false for a sandbox that has ended; Exit then tells how.
	Running bool
	Exit    Exit
}

// ExitStatus is Modal's word for how a sandbox ended.
type ExitStatus string

// How a sandbox ended. Source: GenericResult.GenericStatus in Modal's protocol.
const (
	ExitSuccess         ExitStatus = "Success"
	ExitFailure         ExitStatus = "Failure"
	ExitTerminated      ExitStatus = "Terminated"
	ExitTimeout         ExitStatus = "Timeout"
	ExitInitFailure     ExitStatus = "InitFailure"
	ExitInternalFailure ExitStatus = "InternalFailure"
	ExitIdleTimeout     ExitStatus = "IdleTimeout"
	ExitUnknown         ExitStatus = "Unknown"
)

// Exit tells how a sandbox ended.
type Exit struct {
	Status  ExitStatus
	Code    int32
	Message string
}
