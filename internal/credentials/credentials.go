// Package credentials reads the Secrets that pools name. They are read one by one when needed, so that the controller
// needs no right to list or watch Secrets, and a change is seen within TTL.
package credentials

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// forgetAfter is how long a Secret is remembered that nobody asks for. No sandbox lives longer, so that none is left that was
// begun with it.
const forgetAfter = 25 * time.Hour

// Redacted is a string that must not be shown: whatever prints it prints a placeholder.
type Redacted string

// String hides the value.
func (Redacted) String() string { return "[redacted]" }

// GoString hides the value.
func (Redacted) GoString() string { return "[redacted]" }

// MarshalText hides the value from encoders and loggers.
func (Redacted) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Reveal gives the value, for the one place that has to send it.
func (r Redacted) Reveal() string { return string(r) }

// Store reads Secrets.
type Store struct {
	reader client.Reader
	clock  clock.PassiveClock
	ttl    time.Duration

	mu      sync.Mutex
	entries map[types.NamespacedName]entry
}

type entry struct {
	data   map[string]Redacted
	err    error
	readAt time.Time
	// last is what the Secret held when it was last there.
	last map[string]Redacted
}

type lastKey struct{}

// WithLast gives a context in which a Secret that is gone is served as it last was, from memory. It is for ending what was
// begun with it: a namespace that is deleted loses its Secrets before its Runners.
func WithLast(ctx context.Context) context.Context { return context.WithValue(ctx, lastKey{}, true) }

// in the context, what an entry gives.
func (e entry) in(ctx context.Context) (map[string]Redacted, error) {
	if e.err != nil && e.last != nil && ctx.Value(lastKey{}) != nil {
		return e.last, nil
	}
	return e.data, e.err
}

// NewStore reads Secrets through reader, which must not be cached, at most once per ttl and Secret.
func NewStore(reader client.Reader, clock clock.PassiveClock, ttl time.Duration) *Store {
	return &Store{reader: reader, clock: clock, ttl: ttl, entries: map[types.NamespacedName]entry{}}
}

// Get the values of a Secret, without the white space around them: a Secret that is made from a file ends with a line break,
// which is part of no credential. Errors are classified as SecretMissing, or Transient when the API server does not answer.
func (s *Store) Get(ctx context.Context, namespace, name string) (map[string]Redacted, error) {
	exact, err := s.GetExact(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	data := make(map[string]Redacted, len(exact))
	for k, v := range exact {
		data[k] = Redacted(strings.TrimSpace(string(v)))
	}
	return data, nil
}

// GetExact gives the values of a Secret as they are, for who passes them on. Errors are those of Get.
func (s *Store) GetExact(ctx context.Context, namespace, name string) (map[string]Redacted, error) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	s.mu.Lock()
	known, ok := s.entries[key]
	s.mu.Unlock()
	if ok && s.clock.Since(known.readAt) < s.ttl {
		return known.in(ctx)
	}
	data, err := s.read(ctx, key)
	if err != nil && !fault.Is(err, fault.SecretMissing) {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	read := entry{data: data, err: err, readAt: s.clock.Now(), last: known.last}
	if err == nil {
		read.last = data
	}
	s.entries[key] = read
	// What is used is read again each ttl.
	maps.DeleteFunc(s.entries, func(_ types.NamespacedName, e entry) bool { return read.readAt.Sub(e.readAt) > forgetAfter })
	return read.in(ctx)
}

func (s *Store) read(ctx context.Context, key types.NamespacedName) (map[string]Redacted, error) {
	op := fmt.Sprintf("reading Secret %s", key)
	var secret corev1.Secret
	if err := s.reader.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, &fault.Error{Op: op, Class: fault.SecretMissing, Message: "it does not exist: create it", Err: err}
		}
		return nil, &fault.Error{Op: op, Class: fault.Transient, Message: err.Error(), Err: err}
	}
	data := make(map[string]Redacted, len(secret.Data))
	for k, v := range secret.Data {
		data[k] = Redacted(v)
	}
	return data, nil
}
