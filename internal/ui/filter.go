package ui

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Filter narrows the page down. It comes from the address's query.
type Filter struct {
	Namespace string `json:"namespace,omitempty"`
	// Pool is a pool's name, or a part of it.
	Pool string `json:"pool,omitempty"`
	// Window is one of Windows.
	Window time.Duration `json:"-"`
}

// Windows that may be looked at, the first by default.
var Windows = []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour}

// longest name in Kubernetes.
const longest = 253

// parseFilter of a query. What is not understood is left out.
func parseFilter(query url.Values) Filter {
	f := Filter{Namespace: clip(query.Get("namespace")), Pool: clip(query.Get("pool")), Window: Windows[0]}
	if window, err := time.ParseDuration(query.Get("window")); err == nil && slices.Contains(Windows, window) {
		f.Window = window
	}
	return f
}

func clip(text string) string {
	text = strings.TrimSpace(text)
	return strings.ToValidUTF8(text[:min(len(text), longest)], "")
}

// lets a pool through.
func (f Filter) lets(namespace, pool string) bool {
	return (f.Namespace == "" || f.Namespace == namespace) && strings.Contains(pool, f.Pool)
}

// Active says that something is left out.
func (f Filter) Active() bool { return f.Namespace != "" || f.Pool != "" }

// Query that gives the filter again.
func (f Filter) Query() string {
	query := url.Values{}
	for name, value := range map[string]string{"namespace": f.Namespace, "pool": f.Pool} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Window != Windows[0] {
		query.Set("window", shortly(f.Window))
	}
	return query.Encode()
}

// With another window.
func (f Filter) With(window time.Duration) Filter {
	f.Window = window
	return f
}

// shortly tells a window, as in 15m or 6h.
func shortly(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/time.Minute)) + "m"
}
