package modal

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"k8s.io/utils/clock"
)

// Faults of the server, to be switched on and off by tests. The first rule that matches a call is the one that applies.
// Every attempt counts: the SDK tries a call four times when it is answered DeadlineExceeded, Unavailable, Canceled,
// Internal or Unknown.
type Faults struct {
	clock clock.WithTicker

	mu        sync.Mutex
	random    *rand.Rand
	rules     []*ActiveFault
	sandboxes []*activeSandboxFault
}

// Fault of calls.
type Fault struct {
	// Method it is about, by short name; empty for all of them.
	Method string
	// Match chooses among the calls of the method; nil for all. Streaming calls have a nil request.
	Match func(request proto.Message) bool
	// Skip so many calls that fit before it happens.
	Skip int
	// Times it happens, 0 for as long as it is not removed.
	Times int
	// Probability that it happens, 0 and 1 for always.
	Probability float64
	// Delay before anything else.
	Delay time.Duration
	// Code to answer, without doing the work. With DropAnswer, the code after the work; Unavailable by default.
	Code codes.Code
	// Message of that answer.
	Message string
	// DropAnswer does the work, but the caller never sees its answer. Of a stream, the messages are sent; its end is not.
	DropAnswer bool
	// Hang until the caller gives up: before the work, or after it with DropAnswer.
	Hang bool
}

// ActiveFault is a fault that was added.
type ActiveFault struct {
	fault  Fault
	faults *Faults
	hits   int
}

func newFaults(seed int64, c clock.WithTicker) *Faults {
	return &Faults{clock: c, random: rand.New(rand.NewPCG(uint64(seed), 2))}
}

// Faults of the server.
func (s *Server) Faults() *Faults { return s.faults }

// Add a fault.
func (f *Faults) Add(fault Fault) *ActiveFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	active := &ActiveFault{fault: fault, faults: f}
	f.rules = append(f.rules, active)
	return active
}

// Remove the fault.
func (a *ActiveFault) Remove() {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	for i, rule := range a.faults.rules {
		if rule == a {
			a.faults.rules = append(a.faults.rules[:i:i], a.faults.rules[i+1:]...)
			return
		}
	}
}

// Hits is how often the fault happened.
func (a *ActiveFault) Hits() int {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	return a.hits
}

// Clear removes all faults, of calls and of sandboxes. Calls that hang go on hanging.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.sandboxes = nil, nil
}

// pick the fault of a call, if any.
func (f *Faults) pick(method string, req proto.Message) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rule := range f.rules {
		fault := rule.fault
		switch {
		case fault.Method != "" && fault.Method != method,
			fault.Times > 0 && rule.hits >= fault.Times,
			fault.Match != nil && !fault.Match(req),
			fault.Probability > 0 && fault.Probability < 1 && f.random.Float64() >= fault.Probability:
			continue
		}
		if rule.fault.Skip > 0 {
			rule.fault.Skip--
			continue
		}
		rule.hits++
		return fault, true
	}
	return Fault{}, false
}

// apply the fault of a call, if any, around its work.
func (f *Faults) apply(ctx context.Context, method string, req proto.Message, work func() error) error {
	fault, found := f.pick(method, req)
	if !found {
		return work()
	}
	if fault.Delay > 0 {
		if err := sleep(ctx, f.clock, fault.Delay); err != nil {
			return err
		}
	}
	if fault.DropAnswer {
		_ = work()
		if fault.Code == codes.OK {
			fault.Code = codes.Unavailable
		}
	}
	if fault.Hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if fault.Code != codes.OK {
		if fault.Message == "" {
			fault.Message = "fault: " + fault.Code.String()
		}
		return status.Error(fault.Code, fault.Message)
	}
	return work()
}

// SandboxFault is what goes wrong with a sandbox that was created well.
type SandboxFault struct {
	// Match chooses among the sandboxes, as they are at creation; nil for the next one. It must not call the server.
	Match func(Sandbox) bool
	// Times it happens, 1 by default, -1 for all.
	Times int
	// Stuck: it is never scheduled, and its command never starts; it lives until it is terminated or times out.
	Stuck bool
	// ScheduleDelay in place of the server's.
	ScheduleDelay time.Duration
	// InitFailure, when not empty, ends it when it is scheduled, with this text.
	InitFailure string
	// Status, when set, ends it so, this long after it started.
	Status    pb.GenericResult_GenericStatus
	ExitCode  int32
	Exception string
	After     time.Duration
}

type activeSandboxFault struct {
	fault SandboxFault
	left  int
}

// AddSandbox adds a fault of sandboxes created from now on.
func (f *Faults) AddSandbox(fault SandboxFault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := fault.Times
	if left == 0 {
		left = 1
	}
	f.sandboxes = append(f.sandboxes, &activeSandboxFault{fault: fault, left: left})
}

func (f *Faults) pickSandbox(view func() Sandbox) SandboxFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, active := range f.sandboxes {
		if active.left == 0 || active.fault.Match != nil && !active.fault.Match(view()) {
			continue
		}
		if active.left > 0 {
			active.left--
		}
		return active.fault
	}
	return SandboxFault{}
}
