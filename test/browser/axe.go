package browser

import (
	"fmt"
	"os"
	"strings"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// violation of a rule of axe-core.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// outcome of a run of axe-core.
type outcome struct {
	Violations []violation `json:"violations"`
	Passes     []struct {
		ID string `json:"id"`
	} `json:"passes"`
}

// minPasses is how many rules the page must pass at least: fewer means that they were not run.
const minPasses = 15

// Violations of the rules of accessibility that axe-core knows, WCAG 2.2 AA and good practice, with every section opened.
func (p *Page) Violations() []string {
	p.t.Helper()
	source, err := os.ReadFile(p.axe)
	if err != nil {
		p.t.Fatal(err)
	}
	// The page's own policy lets no script in but its own.
	call(p, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
	p.Do(chromedp.Reload(), chromedp.Evaluate[chromedp.Void](string(source)),
		chromedp.Evaluate[chromedp.Void](`for (const d of document.querySelectorAll("details")) d.open = true`))
	found := Eval[outcome](p, `axe.run(document, {resultTypes: ["violations", "passes"]}).then(r => ({violations: r.violations, passes: r.passes}))`)
	if len(found.Passes) < minPasses {
		p.t.Fatalf("axe-core has checked %d rules only", len(found.Passes))
	}
	var all []string
	for _, v := range found.Violations {
		text := fmt.Sprintf("%s: %s (%d)", v.ID, v.Help, len(v.Nodes))
		for _, node := range v.Nodes[:min(3, len(v.Nodes))] {
			text += "\n    " + strings.TrimSpace(node.HTML) + "\n    " + strings.ReplaceAll(node.Summary, "\n", "\n    ")
		}
		all = append(all, text)
	}
	return all
}
