package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

// The plot is SVG, written by hand: a panel for each scenario that has curves.
const (
	panelWidth, panelHeight = 460, 300
	columns                 = 2
	left, right             = 60, 16
	top, bottom             = 34, 46
)

var colours = []string{"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf"}

// draw the curves.
func draw(curves []curve) []byte {
	var panels []string
	for _, c := range curves {
		if !slices.Contains(panels, c.Panel) {
			panels = append(panels, c.Panel)
		}
	}
	rows := max(1, (len(panels)+columns-1)/columns)
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n",
		columns*panelWidth, rows*panelHeight)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for i, name := range panels {
		var own []curve
		for _, c := range curves {
			if c.Panel == name {
				own = append(own, c)
			}
		}
		fmt.Fprintf(&out, `<g transform="translate(%d,%d)">`+"\n", i%columns*panelWidth, i/columns*panelHeight)
		drawPanel(&out, name, own)
		fmt.Fprintf(&out, "</g>\n")
	}
	fmt.Fprintf(&out, "</svg>\n")
	return out.Bytes()
}

func drawPanel(out *bytes.Buffer, name string, curves []curve) {
	var mostX, mostY float64
	for _, c := range curves {
		for _, p := range c.Points {
			mostX, mostY = max(mostX, p[0]), max(mostY, p[1])
		}
	}
	mostX, mostY = roundUp(mostX), roundUp(mostY)
	const width, height = panelWidth - left - right, panelHeight - top - bottom
	x := func(v float64) float64 { return left + v/mostX*width }
	y := func(v float64) float64 { return top + height - v/mostY*height }
	fmt.Fprintf(out, `<text x="%d" y="18" font-size="13" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(name))
	const ticks = 4
	for i := range ticks + 1 {
		atX, atY := mostX*float64(i)/ticks, mostY*float64(i)/ticks
		fmt.Fprintf(out, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", left, left+width, y(atY), y(atY))
		fmt.Fprintf(out, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-6, y(atY)+4, number(atY))
		fmt.Fprintf(out, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(atX), top+height+16, number(atX))
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+width/2, panelHeight-10, html.EscapeString(curves[0].X))
	fmt.Fprintf(out, `<text transform="translate(14,%d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+height/2, html.EscapeString(curves[0].Y))
	for i, c := range curves {
		colour := colours[i%len(colours)]
		fmt.Fprintf(out, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, colour)
		for _, p := range c.Points {
			fmt.Fprintf(out, "%.1f,%.1f ", x(p[0]), y(p[1]))
		}
		fmt.Fprintf(out, `"/>`+"\n")
		fmt.Fprintf(out, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", left+8, top+14+13*i, colour, html.EscapeString(c.Name))
	}
}

// roundUp to 1, 2 or 5 times a power of ten.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// thinned to so many points at most, for curves of thousands.
func thinned(points [][2]float64, most int) [][2]float64 {
	if len(points) <= most {
		return points
	}
	var kept [][2]float64
	for i := range most {
		kept = append(kept, points[i*(len(points)-1)/(most-1)])
	}
	return kept
}
