package modal

import (
	"math/rand/v2"
	"sync"
)

// ids makes object IDs of Modal's form: a two-letter kind and 22 letters and digits, the same ones for the same seed.
type ids struct {
	mu     sync.Mutex
	random *rand.Rand
	used   map[string]bool
}

func newIDs(seed int64) *ids {
	return &ids{random: rand.New(rand.NewPCG(uint64(seed), 1)), used: map[string]bool{}}
}

const idLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func (i *ids) next(kind string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		text := make([]byte, 22)
		for at := range text {
			text[at] = idLetters[i.random.IntN(len(idLetters))]
		}
		if id := kind + "-" + string(text); !i.used[id] {
			i.used[id] = true
			return id
		}
	}
}
