package lanes

import "testing"

func TestAFullLaneLeavesTheOthersOpen(t *testing.T) {
	l := New(2)
	for range 2 {
		if !l.Enter("a") {
			t.Fatal("a lane of two took less than two")
		}
	}
	if l.Enter("a") {
		t.Fatal("a lane of two took a third")
	}
	if !l.Enter("b") {
		t.Fatal("a full lane closed another")
	}
	l.Leave("a")
	if !l.Enter("a") || l.Enter("a") {
		t.Fatal("leaving did not make room for one")
	}
	for range 2 {
		l.Leave("a")
	}
	l.Leave("b")
	if len(l.used) != 0 {
		t.Errorf("%v is kept of empty lanes", l.used)
	}
}
