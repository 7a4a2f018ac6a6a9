package ui

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"time"
)

//go:embed templates
var templateFiles embed.FS

// templates of the page. Everything that is shown passes through them, which escape it.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"span": span, "plural": plural, "windows": func() []time.Duration { return Windows }, "shortly": shortly,
	"slots": slots, "tickAt": tickAt,
}).ParseFS(templateFiles, "templates/*.html"))

// shown is a State in a template, with what depends on its time.
type shown struct {
	*State
	Live template.HTML
}

// renderLive gives what changes of the page.
func renderLive(state *State) ([]byte, error) {
	return render("live", shown{State: state})
}

// renderPage around what changes of it.
func renderPage(state *State, live []byte) ([]byte, error) {
	return render("page", shown{State: state, Live: template.HTML(live)}) //nolint:gosec // it comes from a template
}

func render(name string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, data); err != nil {
		return nil, fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// span of time in words, as assets/time.js tells it.
func span(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	two := func(a int64, unit string, b int64, smaller string) string {
		text := strconv.FormatInt(a, 10) + unit
		if b > 0 {
			text += " " + strconv.FormatInt(b, 10) + smaller
		}
		return text
	}
	switch {
	case s < 60:
		return two(s, "s", 0, "")
	case s < 10*60:
		return two(s/60, "m", s%60, "s")
	case s < 60*60:
		return two(s/60, "m", 0, "")
	case s < 24*60*60:
		return two(s/3600, "h", s%3600/60, "m")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// moment for a template: a time, and when it is looked at.
type moment struct {
	At, Now time.Time
}

// Moment for the template that tells a time.
func (s shown) Moment(at any) moment {
	switch t := at.(type) {
	case time.Time:
		return moment{At: t.UTC(), Now: s.Now}
	case *time.Time:
		return moment{At: t.UTC(), Now: s.Now}
	}
	panic(fmt.Sprintf("%T is no time", at))
}

// Past is how long ago it was, or how soon it will be.
func (m moment) Past() string {
	if m.At.After(m.Now) {
		return "in " + span(m.At.Sub(m.Now))
	}
	return span(m.Now.Sub(m.At)) + " ago"
}

// Since is for how long it has been so.
func (m moment) Since() string { return span(m.Now.Sub(m.At)) }

// bar of a step on the time axis, in hundredths of it.
type bar struct {
	Step, Tone string
	X, Width   string
	From       int64
	// To is 0 while it goes on.
	To int64
}

// minWidth of a bar that is on the axis, so that it can be seen.
const minWidth = 0.4

// bars of a life, as far as they are within the window.
func (s shown) bars(l Life) []bar {
	window := float64(s.WindowSeconds)
	begin := s.Now.Add(-time.Duration(s.WindowSeconds) * time.Second)
	place := func(t time.Time) float64 { return min(100, max(0, 100*t.Sub(begin).Seconds()/window)) }
	var all []bar
	for _, step := range l.Steps {
		b := bar{Step: step.Step, Tone: string(l.Tone), From: step.From.Unix()}
		to := s.Now
		if step.To != nil {
			to, b.To = *step.To, step.To.Unix()
		}
		if to.Before(begin) {
			continue
		}
		x := min(place(step.From), 100-minWidth)
		b.X, b.Width = percent(x), percent(max(minWidth, place(to)-x))
		all = append(all, b)
	}
	return all
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }

// tick of the time axis.
type tick struct{ X, Text, Anchor string }

// tickAt every third of a window.
func tickAt(windowSeconds int64) []tick {
	var all []tick
	for i := range int64(4) {
		t := tick{X: percent(float64(100*i) / 3), Text: "now", Anchor: "middle"}
		if ago := windowSeconds * (3 - i) / 3; ago > 0 {
			t.Text = "−" + span(time.Duration(ago)*time.Second)
		}
		switch i {
		case 0:
			t.Anchor = "start"
		case 3:
			t.Anchor = "end"
		}
		all = append(all, t)
	}
	return all
}

// maxSlots that are drawn one by one; more are drawn as one bar.
const maxSlots = 40

// slot is one place of a pool, or several alike.
type slot struct{ Kind, X, Width string }

// slots of a pool: those that run, are idle, are starting, and the free ones.
func slots(p Pool) []slot {
	limit := max(p.Limit, p.Running+p.Idle+p.Starting)
	if limit == 0 {
		return nil
	}
	unit, at := 100/float64(limit), 0
	var all []slot
	add := func(kind string, n int) {
		if n > 0 && limit > maxSlots {
			all = append(all, slot{kind, percent(float64(at) * unit), percent(float64(n) * unit)})
			at += n
			return
		}
		for range n {
			all = append(all, slot{kind, percent(float64(at) * unit), percent(unit)})
			at++
		}
	}
	add("running", p.Running)
	add("idle", p.Idle)
	add("starting", p.Starting)
	add("free", limit-at)
	return all
}

// row of the timeline.
type row struct {
	Life
	Bars []bar
	Told string
}

// Row of the timeline for a life.
func (s shown) Row(l Life) row { return row{Life: l, Bars: s.bars(l), Told: l.Told(s.Now)} }

// Title of a row: what is done there, or who does nothing yet.
func (r row) Title() string {
	if r.Job != "" {
		return r.Job
	}
	return r.Name
}

// Detail of a row, beside its title and state.
func (r row) Detail() string {
	text := r.Namespace + "/" + r.Pool
	if r.Job != "" {
		text = r.Repository + " · " + r.Name
	}
	if r.Attempt > 1 {
		text += " · attempt " + strconv.Itoa(int(r.Attempt))
	}
	return text
}

// PoolsTone is how the pools stand together.
func (s shown) PoolsTone() Tone {
	switch {
	case s.Totals.Pools == 0:
		return ToneOff
	case s.Totals.Broken > 0:
		return ToneBad
	case s.Totals.Ready+s.Totals.Off < s.Totals.Pools:
		return ToneWait
	}
	return ToneGood
}

// PoolsNote tells of those that are not ready.
func (s shown) PoolsNote() string {
	switch t := s.Totals; {
	case t.Pools == 0:
		return "none yet"
	case t.Broken == 1:
		return "1 needs a look"
	case t.Broken > 1:
		return strconv.Itoa(t.Broken) + " need a look"
	case t.Ready+t.Off < t.Pools:
		return strconv.Itoa(t.Pools-t.Ready-t.Off) + " on the way"
	case t.Off > 0:
		return strconv.Itoa(t.Off) + " off on purpose"
	}
	return "all serve jobs"
}

// Trouble in a few words, for the window's title; none when there is none.
func (s shown) Trouble() string {
	if s.Totals.Broken > 0 {
		return plural(s.Totals.Broken, "pool", "pools") + " not ready"
	}
	return ""
}

// Announcement of what matters, for those who do not see it. It has nothing that changes all the time.
func (s shown) Announcement() string {
	text := fmt.Sprintf("%d of %s ready.", s.Totals.Ready, plural(s.Totals.Pools, "pool", "pools"))
	if s.Totals.Failures > 0 {
		text += " " + plural(s.Totals.Failures, "runner failure", "runner failures") + "."
	}
	return text
}

// KnowsNamespace says that the filter's namespace is one of those with pools.
func (s shown) KnowsNamespace() bool { return slices.Contains(s.Namespaces, s.Filter.Namespace) }
