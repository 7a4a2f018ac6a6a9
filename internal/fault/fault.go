// Package fault classifies what went wrong outside. Errors are classified once, where GitHub or Modal answered, and
// everything behind that seam decides by class alone.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Class says what can be done about an error.
type Class string

// Classes of errors.
const (
	// Transient: nothing is known to be wrong; try again later. Whether the call took effect is not known.
	Transient Class = "Transient"
	// Throttled: the other side asks to wait until RetryAt. The call took no effect.
	Throttled Class = "Throttled"
	// Held: the call was not made, so as to stay within the other side's limits; it may be made at RetryAt. Nothing is wrong.
	Held Class = "Held"
	// Unauthorized: the credentials are refused.
	Unauthorized Class = "Unauthorized"
	// Forbidden: the credentials are valid but not for this.
	Forbidden Class = "Forbidden"
	// NotFound: what the call is about does not exist, or not any more.
	NotFound Class = "NotFound"
	// NoRunnerGroup: the runner group that the pool names does not exist.
	NoRunnerGroup Class = "NoRunnerGroup"
	// Conflict: what the call would create exists already.
	Conflict Class = "Conflict"
	// Busy: a runner cannot be removed because it runs a job.
	Busy Class = "Busy"
	// Invalid: the request is refused as it is; the same request will be refused again.
	Invalid Class = "Invalid"
	// SecretMissing: the Kubernetes Secret with the credentials does not exist.
	SecretMissing Class = "SecretMissing"
	// SecretInvalid: the Kubernetes Secret lacks a key, or a value in it cannot be used.
	SecretInvalid Class = "SecretInvalid"
)

// Error is a classified error. Its text never holds a secret.
type Error struct {
	// Op says what was being done.
	Op string
	// Class of the error.
	Class Class
	// Message of the other side, or of the error underneath.
	Message string
	// RetryAt is when to try again, for Throttled and Held.
	RetryAt time.Time
	// Err is the error underneath, if any.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Op, e.Message) }

// Unwrap gives the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf an error: that of the first *Error in its chain, and Transient for any other.
func ClassOf(err error) Class {
	var classified *Error
	if errors.As(err, &classified) {
		return classified.Class
	}
	return Transient
}

// Is says whether an error is of one of the classes.
func Is(err error, classes ...Class) bool {
	if err == nil {
		return false
	}
	class := ClassOf(err)
	for _, c := range classes {
		if c == class {
			return true
		}
	}
	return false
}

// IgnoreNotFound turns an error of class NotFound into nil.
func IgnoreNotFound(err error) error {
	if Is(err, NotFound) {
		return nil
	}
	return err
}

// RetryAfter is how long to wait from now before the call is tried again: what the other side asked for, or the fallback.
func RetryAfter(err error, now time.Time, fallback time.Duration) time.Duration {
	var classified *Error
	if errors.As(err, &classified) && classified.RetryAt.After(now) {
		return classified.RetryAt.Sub(now)
	}
	return fallback
}

// FromContext classifies an error that a context or a connection ended with. It is Transient: the call may have taken
// effect.
func FromContext(op string, err error) *Error {
	message := err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		message = "no answer in time"
	}
	return &Error{Op: op, Class: Transient, Message: message, Err: err}
}
