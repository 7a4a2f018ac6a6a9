package modal

import (
	"context"
	"crypto/sha256"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stdin of a sandbox's command: what was written so far, and the messages that it was written with.
type stdin struct {
	log      *byteLog
	messages [][sha256.Size]byte
	closed   bool
}

// SandboxStdinWrite gives the command of a sandbox input, also before it runs. The writer numbers its messages from 1 (sbStdin
// in the SDK's sandbox.go). One that came before is accepted again; another under its number is not: at Modal a second
// writer, which begins anew, is not known to be heard.
func (c *control) SandboxStdinWrite(
	_ context.Context, req *pb.SandboxStdinWriteRequest,
) (*pb.SandboxStdinWriteResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sb, err := c.find(req.GetSandboxId())
	if err != nil {
		return nil, err
	}
	in, number, message := &sb.stdin, int(req.GetIndex()), digest(req)
	switch {
	case number < 1:
		return nil, invalid("messages are numbered from 1, got %d", number)
	case sb.result != nil:
		return nil, status.Errorf(codes.FailedPrecondition, "Sandbox '%s' has finished", sb.id)
	case number <= len(in.messages) && in.messages[number-1] == message:
		return &pb.SandboxStdinWriteResponse{}, nil
	case number != len(in.messages)+1:
		return nil, status.Errorf(codes.FailedPrecondition,
			"message %d was expected by the stdin of Sandbox '%s', not %d", len(in.messages)+1, sb.id, number)
	case in.closed:
		return nil, status.Errorf(codes.FailedPrecondition, "the stdin of Sandbox '%s' is closed", sb.id)
	}
	in.messages = append(in.messages, message)
	_, _ = in.log.Write(req.GetInput())
	if req.GetEof() {
		in.closed = true
		in.log.close()
	}
	sb.active = c.clock.Now()
	return &pb.SandboxStdinWriteResponse{}, nil
}
