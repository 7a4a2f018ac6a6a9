package modal

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"
)

// idempotencyWindow is how long answers are kept. The SDK's retries end within seconds.
const idempotencyWindow = 10 * time.Minute

// changing are the methods whose answers are kept: the others change nothing, so that doing them again is as good.
var changing = map[string]bool{
	"AppGetOrCreate": true, "SecretGetOrCreate": true, "SecretDelete": true, "ImageGetOrCreate": true, "ImageDelete": true,
	"SandboxCreate": true, "SandboxTerminate": true, "SandboxTagsSet": true, "SandboxStdinWrite": true,
	"VolumeGetOrCreate": true, "VolumeDelete": true,
}

// idempotency keeps the answers to calls by their x-idempotency-key, so that a retry of a call whose answer was lost gets
// the same answer, and nothing is done twice. The SDK makes a new key for each call and keeps it over that call's retries
// (retryInterceptor in client.go).
type idempotency struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	answers map[idempotencyKey]*storedAnswer
	order   []*storedAnswer
}

type idempotencyKey struct{ who, method, key string }

type storedAnswer struct {
	key     idempotencyKey
	at      time.Time
	request [sha256.Size]byte
	done    chan struct{}
	answer  any
	err     error
}

func newIdempotency(c clock.PassiveClock) *idempotency {
	return &idempotency{clock: c, answers: map[idempotencyKey]*storedAnswer{}}
}

// do the work, or give the answer that it had under this key.
func (i *idempotency) do(ctx context.Context, who, method string, req proto.Message, work func() (any, error)) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	key := idempotencyKey{who, method, one(md, "x-idempotency-key")}
	if key.key == "" || !changing[method] {
		return work()
	}
	stored, mine := i.claim(key, digest(req))
	if !mine {
		return stored.wait(ctx, req)
	}
	stored.answer, stored.err = work()
	if unfinished(stored.err) {
		i.forget(stored)
	}
	close(stored.done)
	return stored.answer, stored.err
}

// unfinished work may be tried again under the same key.
func unfinished(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Internal, codes.Unknown:
		return true
	}
	return false
}

func digest(req proto.Message) [sha256.Size]byte {
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	return sha256.Sum256(text)
}

func (i *idempotency) claim(key idempotencyKey, request [sha256.Size]byte) (*storedAnswer, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.clock.Now()
	for len(i.order) > 0 && now.Sub(i.order[0].at) > idempotencyWindow {
		if i.answers[i.order[0].key] == i.order[0] {
			delete(i.answers, i.order[0].key)
		}
		i.order = i.order[1:]
	}
	if stored, ok := i.answers[key]; ok {
		return stored, false
	}
	stored := &storedAnswer{key: key, at: now, request: request, done: make(chan struct{})}
	i.answers[key] = stored
	i.order = append(i.order, stored)
	return stored, true
}

func (i *idempotency) forget(stored *storedAnswer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.answers, stored.key)
}

// wait for the answer of the call that came first.
func (a *storedAnswer) wait(ctx context.Context, req proto.Message) (any, error) {
	if digest(req) != a.request {
		return nil, invalid("the idempotency key was used for another request")
	}
	select {
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-a.done:
	}
	if unfinished(a.err) {
		return nil, status.Error(codes.Unavailable, "the first try of this request did not finish")
	}
	return a.answer, a.err
}
