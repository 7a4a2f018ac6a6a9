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
	// BuildImage and give its ID; an image that was built before from the same recipe is not built again. It may take
	// many minutes. A build that fails is Invalid, with what it said last as the message.
	BuildImage(ctx context.Context, recipe Recipe) (id string, err error)
	// Create a sandbox. Conflict: one of that name is running.
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
	// MilliCPU reserved, in thousandths of a physical core.
	MilliCPU int64
	// MemoryMiB reserved.
	MemoryMiB int64
	// GPU by Modal's name, or empty.
	GPU string
	// Timeout of the sandbox's life, in whole seconds.
	Timeout time.Duration
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
