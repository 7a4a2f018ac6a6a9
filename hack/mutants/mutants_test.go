package main

import (
	"os"
	"strings"
	"testing"
)

// What a mutant takes out must be there, once: otherwise `make mutants` proves nothing.
func TestEveryMutantStillHasWhatToTakeOut(t *testing.T) {
	for _, m := range mutants {
		text, err := os.ReadFile("../../" + m.file)
		if err != nil {
			t.Error(err)
			continue
		}
		if count := strings.Count(string(text), m.old); count != 1 {
			t.Errorf("%s: %q is in %s %d times", m.mechanism, m.old, m.file, count)
		}
	}
}
