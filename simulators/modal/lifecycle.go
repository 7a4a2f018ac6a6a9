package modal

import (
	"fmt"
	"maps"
	"slices"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// plan what will happen to a sandbox that was just created, under the lock: its start, and its end by timeout, which
// counts from its creation.
func (s *Server) plan(sb *sandbox) {
	s.later(sb, sb.timeout(), func() {
		s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_TIMEOUT, 124, fmt.Sprintf("Sandbox timed out after %s", sb.timeout())))
	})
	delay := s.options.ScheduleDelay
	if sb.fault.ScheduleDelay > 0 {
		delay = sb.fault.ScheduleDelay
	}
	switch {
	case sb.fault.Stuck:
	case delay <= 0:
		s.start(sb)
	default:
		s.later(sb, delay, func() { s.start(sb) })
	}
}

// later does a thing to a sandbox, under the lock, unless it has finished by then.
func (s *Server) later(sb *sandbox, d time.Duration, do func()) {
	sb.timers = append(sb.timers, s.timeline.after(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sb.result == nil {
			do()
		}
	}))
}

// start the command of a sandbox, under the lock. Without a command it stays (Sandboxes.Create of both SDKs).
func (s *Server) start(sb *sandbox) {
	if sb.fault.InitFailure != "" {
		s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_INIT_FAILURE, 0, sb.fault.InitFailure))
		return
	}
	c, run := sb.container(), s.options.Run
	c.Volumes = s.mounted(sb)
	c.inTerminal(sb.definition().GetPtyInfo())
	if len(c.Command) == 0 {
		run = untilKilled
	} else if program := c.Command[0]; !sb.image.fs.has(program, sb.definition().GetWorkdir()) {
		s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_INIT_FAILURE, 0,
			fmt.Sprintf("Sandbox failed to start: exec: %q: executable file not found", program)))
		return
	}
	sb.state = StateRunning
	sb.started = s.clock.Now()
	sb.active = sb.started
	s.record(sb, EventStarted)
	if idle := sb.definition().GetIdleTimeoutSecs(); idle > 0 {
		s.watchIdle(sb, time.Duration(idle)*time.Second)
	}
	if sb.fault.Status != pb.GenericResult_GENERIC_STATUS_UNSPECIFIED {
		s.later(sb, sb.fault.After, func() { s.finish(sb, resultOf(sb.fault.Status, sb.fault.ExitCode, sb.fault.Exception)) })
	}
	go s.run(sb, run, c)
}

// run the command of a sandbox; the sandbox ends with it.
func (s *Server) run(sb *sandbox, run RunFunc, c Container) {
	defer close(sb.gone)
	exit := run(sb.ctx, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	status := pb.GenericResult_GENERIC_STATUS_SUCCESS
	if exit != 0 {
		status = pb.GenericResult_GENERIC_STATUS_FAILURE
	}
	s.finish(sb, resultOf(status, int32(exit), ""))
}

// watchIdle ends a sandbox when nothing was executed in it, or written to its stdin, for a while. Its entrypoint does not
// count as activity. Source: modal.com/docs/guide/sandboxes.
func (s *Server) watchIdle(sb *sandbox, idle time.Duration) {
	running := slices.ContainsFunc(slices.Collect(maps.Values(sb.execs)), func(e *execution) bool { return !e.ended() })
	left := sb.active.Add(idle).Sub(s.clock.Now())
	if running {
		left = idle
	}
	if left <= 0 {
		s.finish(sb, resultOf(pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT, 0, fmt.Sprintf("Sandbox was idle for %s", idle)))
		return
	}
	s.later(sb, left, func() { s.watchIdle(sb, idle) })
}

// finish a sandbox, once, under the lock. Its name is free from now on.
func (s *Server) finish(sb *sandbox, result *pb.GenericResult) {
	if sb.result != nil {
		return
	}
	neverRan := sb.state == StateCreated
	sb.result = result
	sb.state = StateFinished
	sb.finished = s.clock.Now()
	s.alive--
	if sb.app.running[sb.name()] == sb {
		delete(sb.app.running, sb.name())
	}
	for _, timer := range sb.timers {
		s.timeline.cancel(timer)
	}
	sb.timers = nil
	sb.cancel()
	if neverRan {
		close(sb.gone)
	}
	sb.log.close()
	close(sb.done)
	s.record(sb, EventFinished)
	s.log.Info("sandbox finished", "sandbox", sb.id, "name", sb.name(),
		"status", result.GetStatus().String(), "exit", result.GetExitcode())
}

// Finish a sandbox from outside: its process is killed, and this is its result. Modal reports a sandbox that ran out of
// memory as FAILURE with exit code 137 and the reason as the exception. False: there is none, or it has finished already.
func (s *Server) Finish(id string, status pb.GenericResult_GenericStatus, exit int32, exception string) bool {
	s.timeline.settle()
	s.mu.Lock()
	sb := s.sandboxes[id]
	if sb == nil || sb.result != nil {
		s.mu.Unlock()
		return false
	}
	s.finish(sb, resultOf(status, exit, exception))
	s.mu.Unlock()
	<-sb.gone
	return true
}

// FinishOutOfMemory as Modal reports it.
func (s *Server) FinishOutOfMemory(id string) bool {
	return s.Finish(id, pb.GenericResult_GENERIC_STATUS_FAILURE, 137, "Sandbox was killed: out of memory")
}
