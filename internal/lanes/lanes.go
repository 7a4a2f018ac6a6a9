// Package lanes keeps callers of one kind from taking all workers: where an outside server hangs, those who talk to it
// fill their own lane, and the others go on (I7).
package lanes

import "sync"

// Lanes bound how much goes on at once per key.
type Lanes struct {
	width int

	mu   sync.Mutex
	used map[string]int
}

// New lanes of a width.
func New(width int) *Lanes { return &Lanes{width: width, used: map[string]int{}} }

// Enter the lane of a key, and say whether there was room. Who entered has to leave.
func (l *Lanes) Enter(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used[key] >= l.width {
		return false
	}
	l.used[key]++
	return true
}

// Leave the lane of a key.
func (l *Lanes) Leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used[key]--; l.used[key] <= 0 {
		delete(l.used, key)
	}
}
