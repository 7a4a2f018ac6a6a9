package modal

import "time"

// EventKind is what happened to a sandbox.
type EventKind string

// What happens to a sandbox: each at most once, in this order.
const (
	EventCreated  EventKind = "created"
	EventStarted  EventKind = "started"
	EventFinished EventKind = "finished"
)

// Event in the history of the workspace, in the order in which they happened.
type Event struct {
	At        time.Time
	Kind      EventKind
	SandboxID string
	Name      string
	AppName   string
}

// record an event under the lock.
func (s *Server) record(sb *sandbox, kind EventKind) {
	s.history = append(s.history, Event{At: s.clock.Now(), Kind: kind, SandboxID: sb.id, Name: sb.name(), AppName: sb.app.name})
}

// History of all sandboxes.
func (s *Server) History() []Event {
	s.timeline.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.history...)
}

// Peak number of sandboxes of an app that were alive at once; an empty name is for all apps together.
func (s *Server) Peak(appName string) int {
	return s.PeakBy(func(sb Sandbox) string {
		if appName == "" {
			return ""
		}
		return sb.AppName
	})[appName]
}

// PeakBy groups the sandboxes and gives the peak of each group: exact, since it is counted from the history.
func (s *Server) PeakBy(group func(Sandbox) string) map[string]int {
	groups := map[string]string{}
	for _, sb := range s.Sandboxes() {
		groups[sb.ID] = group(sb)
	}
	now, peak := map[string]int{}, map[string]int{}
	for _, event := range s.History() {
		name, known := groups[event.SandboxID]
		switch {
		case !known:
		case event.Kind == EventCreated:
			now[name]++
			peak[name] = max(peak[name], now[name])
		case event.Kind == EventFinished:
			now[name]--
		}
	}
	return peak
}
