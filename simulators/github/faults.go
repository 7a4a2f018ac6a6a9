package github

import (
	"maps"
	"net/http"
	"regexp"
	"time"
)

// Fault is something that goes wrong with API calls.
type Fault struct {
	// Method and Path of the calls, the path without /api/v3; empty is any.
	Method string
	Path   *regexp.Regexp
	// Skip so many calls that fit before it happens.
	Skip int
	// Times that it happens; 0 is until ClearFaults.
	Times int
	// Status, Body and Header to answer with; 0 leaves the answer as it is.
	Status int
	Body   string
	Header http.Header
	// AfterWork does the work before it answers with Status.
	AfterWork bool
	// DropAnswer does the work and closes the connection without an answer.
	DropAnswer bool
	// Hang until the caller gives up: before the work, or after it with AfterWork.
	Hang bool
	// Delay before anything.
	Delay time.Duration
	// Kind names the fault in FaultHits.
	Kind string

	left int
}

// Inject a fault. Of several that fit a call, the first is taken.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.left = f.Times
	s.faults = append(s.faults, &f)
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// FaultHits counts how often faults happened, by kind.
func (s *Server) FaultHits() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.faultHits)
}

func (s *Server) faultFor(method, path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != "" && f.Method != method || f.Path != nil && !f.Path.MatchString(path) || f.Times > 0 && f.left == 0 {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		f.left--
		s.faultHits[f.Kind]++
		return f
	}
	return nil
}

// before does what comes before the work, and says whether the work is to be done.
func (f *Fault) before(w http.ResponseWriter, req *http.Request) bool {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-req.Context().Done():
			return false
		}
	}
	if f.Hang && !f.AfterWork {
		<-req.Context().Done()
		return false
	}
	if f.Status != 0 && !f.AfterWork {
		f.write(w)
		return false
	}
	return true
}

func (f *Fault) write(w http.ResponseWriter) {
	body := f.Body
	if body == "" {
		body = `{"message":"` + http.StatusText(f.Status) + `","documentation_url":"https://docs.github.com/rest"}`
	}
	header := f.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json; charset=utf-8")
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(body))
}
