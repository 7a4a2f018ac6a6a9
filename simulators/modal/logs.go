package modal

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"
)

// maxLogEntries that are kept of one sandbox or build; older ones are forgotten.
const maxLogEntries = 20000

// logs is an append-only log that many can read, from any place, while it grows.
type logs struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	entries []logEntry
	dropped int
	ended   bool
	// changed is closed and replaced whenever something was added.
	changed chan struct{}
	// partial holds the bytes of a character that has not come in whole: the protocol's strings are UTF-8.
	partial map[pb.FileDescriptor][]byte
}

type logEntry struct {
	number int
	at     time.Time
	fd     pb.FileDescriptor
	data   string
}

// id of the entry, of the form that the SDK starts with: "0-0" is before the first.
func (e logEntry) id() string { return strconv.Itoa(e.number) + "-0" }

func newLogs(c clock.PassiveClock) *logs { return &logs{clock: c, changed: make(chan struct{})} }

func (l *logs) add(fd pb.FileDescriptor, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(fd, data)
}

func (l *logs) append(fd pb.FileDescriptor, data string) {
	if l.ended || data == "" {
		return
	}
	number := l.dropped + len(l.entries) + 1
	l.entries = append(l.entries, logEntry{number, l.clock.Now(), fd, strings.ToValidUTF8(data, "\uFFFD")})
	if len(l.entries) > 2*maxLogEntries {
		surplus := len(l.entries) - maxLogEntries
		l.entries = append([]logEntry(nil), l.entries[surplus:]...)
		l.dropped += surplus
	}
	l.notify()
}

func (l *logs) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// close the log: readers come to its end.
func (l *logs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	for _, fd := range []pb.FileDescriptor{pb.FileDescriptor_FILE_DESCRIPTOR_STDOUT, pb.FileDescriptor_FILE_DESCRIPTOR_STDERR} {
		rest := l.partial[fd]
		delete(l.partial, fd)
		l.append(fd, string(rest))
	}
	l.ended = true
	l.notify()
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	for _, entry := range l.entries {
		text.WriteString(entry.data)
	}
	return text.String()
}

func (l *logs) lastID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return logEntry{number: l.dropped + len(l.entries)}.id()
}

// writer of a file descriptor.
func (l *logs) writer(fd pb.FileDescriptor) io.Writer { return logWriter{l, fd} }

type logWriter struct {
	log *logs
	fd  pb.FileDescriptor
}

func (w logWriter) Write(p []byte) (int, error) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	data := slices.Concat(w.log.partial[w.fd], p)
	whole := len(data) - cutRune(data)
	if w.log.partial == nil {
		w.log.partial = map[pb.FileDescriptor][]byte{}
	}
	w.log.partial[w.fd] = append([]byte(nil), data[whole:]...)
	w.log.append(w.fd, string(data[:whole]))
	return len(p), nil
}

// cutRune is the number of bytes at the end that are the beginning of a character.
func cutRune(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if start := data[len(data)-n:]; utf8.RuneStart(start[0]) {
			if utf8.FullRune(start) {
				return 0
			}
			return n
		}
	}
	return 0
}

// logReader is one reader's place in a log.
type logReader struct {
	log  *logs
	seen int
}

// from the entry after the one of an ID; "" and "0-0" are before the first.
func (l *logs) from(lastID string) (*logReader, error) {
	if lastID == "" {
		return &logReader{log: l}, nil
	}
	number, _, found := strings.Cut(lastID, "-")
	seen, err := strconv.Atoi(number)
	if err != nil || !found || seen < 0 {
		return nil, invalid("Invalid last entry ID '%s'", lastID)
	}
	return &logReader{log: l, seen: seen}, nil
}

// next entries, waiting for some; none when the window is over, and ended when there will be no more.
func (r *logReader) next(ctx context.Context, window <-chan time.Time) (entries []logEntry, ended bool, err error) {
	for {
		r.log.mu.Lock()
		from := max(r.seen-r.log.dropped, 0)
		if from < len(r.log.entries) {
			entries = append(entries, r.log.entries[from:]...)
			r.seen = entries[len(entries)-1].number
		}
		ended, changed := r.log.ended, r.log.changed
		r.log.mu.Unlock()
		if len(entries) > 0 {
			return entries, false, nil
		}
		if ended {
			return nil, true, nil
		}
		select {
		case <-ctx.Done():
			return nil, false, status.FromContextError(ctx.Err()).Err()
		case <-window:
			return nil, false, nil
		case <-changed:
		}
	}
}

// taskLogs of entries, without timestamp_ns: Modal's JavaScript SDK cannot read a time in nanoseconds, so Modal sends none.
func taskLogs(entries []logEntry) []*pb.TaskLogs {
	items := make([]*pb.TaskLogs, 0, len(entries))
	for _, entry := range entries {
		items = append(items, pb.TaskLogs_builder{
			Data: entry.data, FileDescriptor: entry.fd, Timestamp: seconds(entry.at),
		}.Build())
	}
	return items
}

// window of a call that waits for as long as the caller says, at most Options.Window. A window of nothing is over at once.
func (s *Server) window(timeout float32) (over <-chan time.Time, stop func()) {
	if timeout <= 0 {
		now := make(chan time.Time, 1)
		now <- s.clock.Now()
		return now, func() {}
	}
	timer := s.clock.NewTimer(min(time.Duration(float64(timeout)*float64(time.Second)), s.options.Window))
	return timer.C(), func() { timer.Stop() }
}

// seconds since 1970, as the protocol has its times.
func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMicro()) / 1e6
}
