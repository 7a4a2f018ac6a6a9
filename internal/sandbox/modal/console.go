package modal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"golang.org/x/sync/errgroup"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/internal/sandbox"
)

const (
	// quiet is how long nothing has to come of a living sandbox's log until what it wrote before is taken to be read.
	quiet = time.Second
	// pastTimeout is the longest that the past is read for: one that writes without a pause would have none.
	pastTimeout = 30 * time.Second
)

// Console for the app and credentials that a Runner names. Errors are those of For.
func (p *Providers) Console(ctx context.Context, namespace string, modal v1alpha1.Modal) (sandbox.Console, error) {
	found, err := p.For(ctx, namespace, modal)
	if err != nil {
		return nil, err
	}
	return found.(*provider), nil
}

// Logs implements sandbox.Console.
func (p *provider) Logs(ctx context.Context, id string, request sandbox.LogRequest, out io.Writer) error {
	op := "reading the log of sandbox " + id
	asking, cancel := context.WithTimeout(ctx, callTimeout)
	found, err := p.client.Sandboxes.FromID(asking, id)
	cancel()
	if err != nil {
		return p.classify(op, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = copyLog(ctx, chunksOf(ctx, found.Stdout, found.Stderr), request, out)
	if err != nil && ctx.Err() == nil {
		return p.classify(op, err)
	}
	return ctx.Err()
}

// chunk of a log, or the error that it broke off with.
type chunk struct {
	data []byte
	err  error
}

// chunksOf all streams as they come; the channel is closed when all have ended. The streams are closed with the context.
func chunksOf(ctx context.Context, streams ...io.ReadCloser) <-chan chunk {
	chunks := make(chan chunk)
	var readers errgroup.Group
	for _, stream := range streams {
		// Closing ends a read that waits.
		context.AfterFunc(ctx, func() { _ = stream.Close() })
		readers.Go(func() error {
			buffer := make([]byte, 32<<10)
			for {
				n, err := stream.Read(buffer)
				if n > 0 {
					select {
					case chunks <- chunk{data: bytes.Clone(buffer[:n])}:
					case <-ctx.Done():
						return nil
					}
				}
				if err != nil {
					return ignoreEOF(err)
				}
			}
		})
	}
	go func() {
		defer close(chunks)
		if err := readers.Wait(); err != nil {
			select {
			case chunks <- chunk{err: err}:
			case <-ctx.Done():
			}
		}
	}()
	return chunks
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// copyLog from the chunks: the past first, or its tail, then what follows.
func copyLog(ctx context.Context, chunks <-chan chunk, request sandbox.LogRequest, out io.Writer) error {
	past := &tail{out: out, lines: request.Tail}
	pause, latest := time.NewTimer(quiet), time.NewTimer(pastTimeout)
	defer pause.Stop()
	defer latest.Stop()
	for {
		select {
		case <-ctx.Done():
			return past.flush()
		case c, more := <-chunks:
			if !more {
				return past.flush()
			}
			if c.err != nil {
				_ = past.flush()
				return c.err
			}
			if _, err := past.Write(c.data); err != nil {
				return err
			}
			pause.Reset(quiet)
			continue
		case <-pause.C:
		case <-latest.C:
		}
		if err := past.flush(); err != nil || !request.Follow {
			return err
		}
	}
}

// tail holds back all but the last lines of what is written to it until it is flushed; after that it holds back nothing.
type tail struct {
	out   io.Writer
	lines *int
	held  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	if t.lines == nil {
		return t.out.Write(p)
	}
	t.held = lastLines(append(t.held, p...), *t.lines)
	return len(p), nil
}

func (t *tail) flush() error {
	held := t.held
	t.held, t.lines = nil, nil
	if len(held) == 0 {
		return nil
	}
	_, err := t.out.Write(held)
	return err
}

// lastLines of a text; one that has no end yet is a line too.
func lastLines(text []byte, count int) []byte {
	if count <= 0 {
		return nil
	}
	end := len(bytes.TrimSuffix(text, []byte("\n")))
	for range count {
		end = bytes.LastIndexByte(text[:end], '\n')
		if end < 0 {
			return text
		}
	}
	return slices.Clone(text[end+1:])
}

// Exec implements sandbox.Console.
func (p *provider) Exec(ctx context.Context, id string, request sandbox.ExecRequest) (int, error) {
	op := "executing in sandbox " + id
	handle, err := p.alive(ctx, id)
	if err != nil {
		return 0, err
	}
	defer func() { _ = handle.Detach() }()
	process, err := start(ctx, handle, request)
	if err != nil {
		return 0, p.classify(op, err)
	}
	go feed(process.Stdin, request.Stdin)
	var outputs errgroup.Group
	for stream, out := range map[io.ReadCloser]io.Writer{process.Stdout: request.Stdout, process.Stderr: request.Stderr} {
		// Closing ends a read that waits.
		defer context.AfterFunc(ctx, func() { _ = stream.Close() })()
		outputs.Go(func() error {
			_, err := io.Copy(out, stream)
			return err
		})
	}
	err = outputs.Wait()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, p.classify(op, err)
	}
	code, err := process.Wait(ctx)
	if err != nil {
		return 0, p.classify(op, err)
	}
	return code, nil
}

// alive gives the handle of a sandbox that has not ended.
func (p *provider) alive(ctx context.Context, id string) (*sdk.Sandbox, error) {
	op := "looking at sandbox " + id
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, result := withCapture(ctx)
	handle, err := p.client.Sandboxes.FromID(ctx, id)
	if err != nil {
		return nil, p.classify(op, err)
	}
	if result.GetStatus() != pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		return nil, &fault.Error{Op: op, Class: fault.NotFound, Message: fmt.Sprintf("it has ended (%s)", exitOf(result).Status)}
	}
	return handle, nil
}

// start a command.
func start(ctx context.Context, in *sdk.Sandbox, request sandbox.ExecRequest) (*sdk.ContainerProcess, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return in.Exec(ctx, commandOf(request), &sdk.SandboxExecParams{PTY: request.Terminal})
}

// commandOf a request. The SDK asks for terminals of 80 by 24 alone, so that the size is set before the command starts.
func commandOf(request sandbox.ExecRequest) []string {
	if !request.Terminal || request.Size == nil {
		return request.Command
	}
	script := fmt.Sprintf(`stty rows %d cols %d 2>/dev/null; exec "$@"`, request.Size.Rows, request.Size.Columns)
	return append([]string{"sh", "-c", script, "sh"}, request.Command...)
}

// feed a command its input. That it takes no more is no error: it may have ended.
func feed(into io.WriteCloser, from io.Reader) {
	if from != nil {
		_, _ = io.Copy(into, from)
	}
	_ = into.Close()
}
