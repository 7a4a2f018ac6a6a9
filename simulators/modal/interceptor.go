package modal

import (
	"context"
	"path"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"
)

// unary is what every unary call goes through: authentication, faults, stored answers, latency, the work.
func (s *Server) unary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (answer any, err error) {
	method := path.Base(info.FullMethod)
	defer func() { s.calls.add(method, status.Code(err)) }()
	s.timeline.settle()
	who, err := s.authenticate(ctx, info.FullMethod, info.FullMethod != pb.ModalClient_AuthTokenGet_FullMethodName)
	if err != nil {
		return nil, err
	}
	message := req.(proto.Message)
	err = s.faults.apply(ctx, method, message, func() error {
		answer, err = s.idempotency.do(ctx, who, method, message, func() (any, error) {
			if err := s.delay(ctx, method); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// stream is what every streaming call goes through. Streams carry no idempotency key, and an auth token with the JavaScript
// SDK only: one that is there must be valid.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	method := path.Base(info.FullMethod)
	defer func() { s.calls.add(method, status.Code(err)) }()
	s.timeline.settle()
	ctx := stream.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	if _, err := s.authenticate(ctx, info.FullMethod, len(md.Get("x-modal-auth-token")) > 0); err != nil {
		return err
	}
	return s.faults.apply(ctx, method, nil, func() error {
		if err := s.delay(ctx, method); err != nil {
			return err
		}
		return handler(srv, stream)
	})
}

// authenticate a call; the identity it gives is that of the token.
func (s *Server) authenticate(ctx context.Context, fullMethod string, needsAuthToken bool) (string, error) {
	if path.Base(path.Dir(fullMethod)) == pb.TaskCommandRouter_ServiceDesc.ServiceName {
		return s.tokens.checkTask(ctx)
	}
	return s.tokens.check(ctx, needsAuthToken)
}

// delay a call by the latency of its method, and let happen what is due after it.
func (s *Server) delay(ctx context.Context, method string) error {
	latency := s.options.Latency[method]
	if latency <= 0 {
		return nil
	}
	if err := sleep(ctx, s.clock, latency); err != nil {
		return err
	}
	s.timeline.settle()
	return nil
}

// sleep on the clock; the error, when the caller goes away, is a status.
func sleep(ctx context.Context, c clock.WithTicker, d time.Duration) error {
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-timer.C():
		return nil
	}
}

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func notFound(format string, args ...any) error {
	return status.Errorf(codes.NotFound, format, args...)
}
