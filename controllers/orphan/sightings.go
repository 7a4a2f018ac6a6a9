package orphan

import "time"

// sightings of what may be an orphan, by key.
type sightings map[string]sighting

type sighting struct {
	first, last time.Time
	// lists in which it was, the times of which are first and last.
	lists int
}

// forgetAfter is how long a sighting is kept that no list repeats. A list that fails, or that is empty by mistake, resets
// no clock (B44).
const forgetAfter = time.Hour

// due notes that a list, begun at a time, has the key, and says whether it was in two lists at least the grace apart.
func (s *sightings) due(key string, listed time.Time, grace time.Duration) bool {
	if *s == nil {
		*s = sightings{}
	}
	seen, known := (*s)[key]
	if !known {
		seen = sighting{first: listed, last: listed, lists: 1}
	}
	if listed.After(seen.last) {
		seen.last = listed
		seen.lists++
	}
	(*s)[key] = seen
	return seen.lists >= 2 && !seen.last.Before(seen.first.Add(grace))
}

// forget what no list has had since a time.
func (s *sightings) forget(before time.Time) {
	for key, seen := range *s {
		if seen.last.Before(before) {
			delete(*s, key)
		}
	}
}
