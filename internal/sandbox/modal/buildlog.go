package modal

import (
	"context"
	"strings"
	"sync"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"

	"github.com/modalrunner/modal-runner-controller/internal/scrub"
)

// buildLogLimit is how much of a build's log is kept, in bytes: its end.
const buildLogLimit = 4096

// buildLog keeps the end of what a build has said. The SDK passes it over, and Modal's own word for a build that failed may
// be no more than that it did.
type buildLog struct {
	mu   sync.Mutex
	text []byte
}

type buildLogKey struct{}

// withBuildLog gives a context in which builds that are waited for leave the end of their log.
func withBuildLog(ctx context.Context) (context.Context, *buildLog) {
	log := &buildLog{}
	return context.WithValue(ctx, buildLogKey{}, log), log
}

func (l *buildLog) add(logs []*pb.TaskLogs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, entry := range logs {
		l.text = append(l.text, entry.GetData()...)
	}
	l.text = l.text[max(0, len(l.text)-buildLogLimit):]
}

// end of the log, from the beginning of a line, without anything that looks like a secret.
func (l *buildLog) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.ToValidUTF8(string(l.text), "")
	if _, rest, cut := strings.Cut(text, "\n"); cut && len(l.text) == buildLogLimit {
		text = rest
	}
	return scrub.Text(strings.TrimSpace(text))
}

// captureBuildLog is an interceptor that keeps the log of builds for who asked with withBuildLog. A build may have ended
// before it is waited for: its log is asked for all the same.
func captureBuildLog(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	log, wanted := ctx.Value(buildLogKey{}).(*buildLog)
	if err != nil || !wanted {
		return stream, err
	}
	return &buildStream{ClientStream: stream, log: log}, nil
}

type buildStream struct {
	grpc.ClientStream
	log *buildLog
}

func (s *buildStream) SendMsg(message any) error {
	if request, ok := message.(*pb.ImageJoinStreamingRequest); ok {
		request.SetIncludeLogsForFinished(true)
	}
	return s.ClientStream.SendMsg(message)
}

func (s *buildStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if answer, ok := message.(*pb.ImageJoinStreamingResponse); ok && err == nil {
		s.log.add(answer.GetTaskLogs())
	}
	return err
}
