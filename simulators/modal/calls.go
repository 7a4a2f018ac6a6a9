package modal

import (
	"maps"
	"sync"

	"google.golang.org/grpc/codes"
)

// calls counts the calls by method and by how they were answered.
type calls struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

func newCalls() *calls { return &calls{counts: map[string]map[string]int{}} }

func (c *calls) add(method string, code codes.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts[method] == nil {
		c.counts[method] = map[string]int{}
	}
	c.counts[method][code.String()]++
}

// Calls answered so far: method (short name) -> gRPC code (by name, "OK" for success) -> number. Refused and failed calls
// count too, under the code that the caller was sent.
func (s *Server) Calls() map[string]map[string]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	copied := make(map[string]map[string]int, len(s.calls.counts))
	for method, codes := range s.calls.counts {
		copied[method] = maps.Clone(codes)
	}
	return copied
}

// CallCount of one method, whatever the answer.
func (s *Server) CallCount(method string) int {
	total := 0
	for _, n := range s.Calls()[method] {
		total += n
	}
	return total
}
