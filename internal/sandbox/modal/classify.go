package modal

import (
	"errors"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// classify an error of the SDK: its own types first, which are values and not pointers, then the gRPC code.
func (p *provider) classify(op string, err error) error {
	if class, message, ok := ofType(err); ok {
		return &fault.Error{Op: op, Class: class, Message: message, Err: err}
	}
	state, ok := status.FromError(err)
	if !ok {
		return fault.FromContext(op, err)
	}
	classified := &fault.Error{Op: op, Class: fault.Transient, Message: "Modal answered " + state.Code().String() + ": " + state.Message(), Err: err}
	switch state.Code() {
	case codes.Unauthenticated:
		classified.Class = fault.Unauthorized
	case codes.PermissionDenied:
		classified.Class = fault.Forbidden
	case codes.NotFound:
		classified.Class = fault.NotFound
	case codes.AlreadyExists:
		classified.Class = fault.Conflict
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		classified.Class = fault.Invalid
	case codes.ResourceExhausted:
		// Rate, quota and billing limits share this code and none tells for how long.
		classified.Class = fault.Throttled
		classified.RetryAt = p.clock.Now().Add(exhaustedWait).Truncate(time.Second)
	}
	return classified
}

func ofType(err error) (fault.Class, string, bool) {
	var (
		exists   sdk.AlreadyExistsError
		notFound sdk.NotFoundError
		invalid  sdk.InvalidError
		remote   sdk.RemoteError
	)
	switch {
	case errors.As(err, &exists):
		return fault.Conflict, exists.Exception, true
	case errors.As(err, &notFound):
		return fault.NotFound, notFound.Exception, true
	case errors.As(err, &invalid):
		return fault.Invalid, invalid.Exception, true
	case errors.As(err, &remote):
		return fault.Invalid, remote.Exception, true
	default:
		return "", "", false
	}
}
