package modal

import (
	"context"
	"path"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
)

type captureKey struct{}

// withCapture gives a context that keeps the result of a SandboxWait made with it.
func withCapture(ctx context.Context) (context.Context, *pb.GenericResult) {
	result := new(pb.GenericResult)
	return context.WithValue(ctx, captureKey{}, result), result
}

// captureResult is an interceptor that keeps what SandboxWait answers for who asked with withCapture.
func captureResult(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	wait, isWait := reply.(*pb.SandboxWaitResponse)
	kept, wanted := ctx.Value(captureKey{}).(*pb.GenericResult)
	if err == nil && isWait && wanted && wait.GetResult() != nil {
		kept.SetStatus(wait.GetResult().GetStatus())
		kept.SetExitcode(wait.GetResult().GetExitcode())
		kept.SetException(wait.GetResult().GetException())
	}
	return err
}

type listKey struct{}

// withList gives a context that keeps what a SandboxList made with it tells of each sandbox. The SDK's own list gives the
// IDs alone.
func withList(ctx context.Context) (context.Context, map[string]sandbox.Listed) {
	listed := map[string]sandbox.Listed{}
	return context.WithValue(ctx, listKey{}, listed), listed
}

// captureList is an interceptor that keeps what SandboxList answers for who asked with withList.
func captureList(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, opts...)
	page, isList := reply.(*pb.SandboxListResponse)
	kept, wanted := ctx.Value(listKey{}).(map[string]sandbox.Listed)
	if err == nil && isList && wanted {
		for _, info := range page.GetSandboxes() {
			kept[info.GetId()] = sandbox.Listed{Name: info.GetName()}
		}
	}
	return err
}

// countCalls is an interceptor that counts and traces every RPC, each of the SDK's tries by itself.
func countCalls(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	begun := time.Now()
	ctx, end := tracing.Call(ctx, "Modal", path.Base(method))
	err := invoke(ctx, method, req, reply, conn, opts...)
	code, class := status.Code(err), ""
	if code != codes.OK {
		class = code.String()
	}
	end(class, code.String())
	metrics.ModalCall(path.Base(method), code.String(), time.Since(begun))
	return err
}

var exitStatuses = map[pb.GenericResult_GenericStatus]sandbox.ExitStatus{
	pb.GenericResult_GENERIC_STATUS_SUCCESS:          sandbox.ExitSuccess,
	pb.GenericResult_GENERIC_STATUS_FAILURE:          sandbox.ExitFailure,
	pb.GenericResult_GENERIC_STATUS_TERMINATED:       sandbox.ExitTerminated,
	pb.GenericResult_GENERIC_STATUS_TIMEOUT:          sandbox.ExitTimeout,
	pb.GenericResult_GENERIC_STATUS_INIT_FAILURE:     sandbox.ExitInitFailure,
	pb.GenericResult_GENERIC_STATUS_INTERNAL_FAILURE: sandbox.ExitInternalFailure,
	pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT:     sandbox.ExitIdleTimeout,
}

func exitOf(result *pb.GenericResult) sandbox.Exit {
	known, ok := exitStatuses[result.GetStatus()]
	if !ok {
		known = sandbox.ExitUnknown
	}
	return sandbox.Exit{Status: known, Code: result.GetExitcode(), Message: result.GetException()}
}
