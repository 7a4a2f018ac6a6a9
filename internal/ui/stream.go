package ui

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// retryAfter is how long a browser waits before it connects again, in milliseconds.
const retryAfter = "2000"

// stream of what a view shows, as server-sent events: all of it at once, and again when it has changed, at most once a second.
// The ID of an event is that of what it shows, so that who comes back with Last-Event-ID is not told what it knows. Nothing is
// queued for a client: one that is slow is told the latest when it can take it, and let go when it takes nothing.
func (s *Server) stream(event string, text func(*view) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		leave, ok := s.snapshots.join()
		if !ok {
			w.Header().Set("Retry-After", "10")
			http.Error(w, "too many are looking at once", http.StatusServiceUnavailable)
			return
		}
		defer leave()
		header := w.Header()
		header.Set("Content-Type", "text/event-stream")
		header.Set("X-Accel-Buffering", "no")
		c := &follower{w: w, control: http.NewResponseController(w), timeout: s.writeTimeout}
		if req.Method == http.MethodHead || c.send([]byte("retry: "+retryAfter+"\n\n")) != nil {
			return
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		s.follow(ctx, c, parseFilter(req.URL.Query()), req.Header.Get("Last-Event-ID"), event, text)
	}
}

// follow the snapshots until the client is gone.
func (s *Server) follow(ctx context.Context, c *follower, filter Filter, last, event string, text func(*view) ([]byte, error)) {
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	for {
		now, replaced, err := s.snapshots.latest(ctx)
		var v *view
		if err == nil {
			v, err = now.view(filter)
		}
		if err == nil && v.id != last {
			var body []byte
			if body, err = text(v); err == nil {
				if c.send(frame(event, v.id, body)) != nil {
					return
				}
				last = v.id
			}
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error(err, "could not tell of what has changed")
		}
		if !c.await(ctx, replaced, beat.C) {
			return
		}
	}
}

// follower of a stream.
type follower struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// send text, or fail when the client does not take it in time.
func (c *follower) send(text []byte) error {
	if err := c.control.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if _, err := c.w.Write(text); err != nil {
		return err
	}
	return c.control.Flush()
}

// await the next snapshot, with a sign of life now and then; false when the client is gone.
func (c *follower) await(ctx context.Context, replaced <-chan struct{}, beat <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-replaced:
			return true
		case <-beat:
			if c.send([]byte("event: beat\ndata: {}\n\n")) != nil {
				return false
			}
		}
	}
}

// frame of an event. A line of the body is a line of data; a carriage return ends one too, as it does for the browser.
func frame(event, id string, body []byte) []byte {
	var out bytes.Buffer
	body = bytes.ReplaceAll(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	out.WriteString("event: " + event + "\nid: " + id + "\n")
	for line := range bytes.Lines(body) {
		out.WriteString("data: ")
		out.Write(bytes.TrimSuffix(line, []byte("\n")))
		out.WriteByte('\n')
	}
	out.WriteByte('\n')
	return out.Bytes()
}
