package modal

import (
	"context"
	"io"
	"sync"
)

// byteLog is an append-only run of bytes that many can read, from any offset, while it grows. It is the stdin, stdout and
// stderr of executed commands.
type byteLog struct {
	mu    sync.Mutex
	data  []byte
	ended bool
	// changed is closed and replaced whenever something was added.
	changed chan struct{}
}

func newByteLog() *byteLog { return &byteLog{changed: make(chan struct{})} }

// Write appends; after the end, bytes are lost.
func (b *byteLog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append(p)
	return len(p), nil
}

func (b *byteLog) append(p []byte) {
	if b.ended || len(p) == 0 {
		return
	}
	b.data = append(b.data, p...)
	close(b.changed)
	b.changed = make(chan struct{})
}

// writeAt appends what of p is new: the beginning may have come before. A gap, and a write after the end, are refused.
func (b *byteLog) writeAt(offset uint64, p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := uint64(len(b.data))
	if offset > have || b.ended && offset+uint64(len(p)) > have {
		return false
	}
	if skip := have - offset; skip < uint64(len(p)) {
		b.append(p[skip:])
	}
	return true
}

func (b *byteLog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.ended = true
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// readFrom an offset what there is, waiting for some; io.EOF at the end.
func (b *byteLog) readFrom(ctx context.Context, offset uint64) ([]byte, error) {
	for {
		b.mu.Lock()
		data, ended, changed := b.data, b.ended, b.changed
		b.mu.Unlock()
		switch {
		case offset < uint64(len(data)):
			return data[offset:], nil
		case ended:
			return nil, io.EOF
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// byteReader reads a log from its beginning.
type byteReader struct {
	ctx    context.Context
	log    *byteLog
	offset uint64
}

func (r *byteReader) Read(p []byte) (int, error) {
	data, err := r.log.readFrom(r.ctx, r.offset)
	if err != nil {
		return 0, io.EOF
	}
	n := copy(p, data)
	r.offset += uint64(n)
	return n, nil
}
