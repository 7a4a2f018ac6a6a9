// Package browser drives a real Chromium for tests, and watches what a page does: which requests it makes, what it complains of,
// and whether everybody can use it.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// patience with one step, on a machine that has much else to do.
const patience = 90 * time.Second

// Size of a window.
type Size struct {
	Name          string
	Width, Height int64
	Mobile        bool
}

// Sizes that the page is looked at in.
var (
	Desktop = Size{Name: "desktop", Width: 1440, Height: 900}
	Phone   = Size{Name: "phone", Width: 390, Height: 844, Mobile: true}
)

// Themes that a system may prefer.
var Themes = []string{"light", "dark"}

// Browser is a running Chromium with nothing of anybody's in it.
type Browser struct {
	t   testing.TB
	ctx context.Context
	axe string
}

// Start Chromium, which hack/chromium.sh finds or installs, for a test.
func Start(t testing.TB) *Browser {
	t.Helper()
	root, err := stack.Root()
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, axe: script(t, root, "hack/axe/fetch.sh")}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(script(t, root, "hack/chromium.sh")), chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("FONTCONFIG_FILE="+filepath.Join(root, "test/browser/testdata/fonts.conf")),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("font-render-hinting", "none"),
	)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		// Ask it to end, so that its folder can be removed.
		_ = chromedp.Cancel(ctx)
		closeBrowser()
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	b.ctx = ctx
	return b
}

// script of the project that prints a path.
func script(t testing.TB, root, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, name))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// Page is a tab.
type Page struct {
	t   testing.TB
	ctx context.Context
	axe string

	mu       sync.Mutex
	hosts    map[string]bool
	problems []string
}

// Open a tab of a size whose system prefers a theme, at an address; before holds scripts that run before any of the page's.
func (b *Browser) Open(t testing.TB, size Size, theme, address string, before ...string) *Page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	p := &Page{t: t, ctx: ctx, axe: b.axe, hosts: map[string]bool{}}
	// The first run binds the tab to its context, which therefore must not end early.
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	go p.hearConsole(chromedp.Console(ctx))
	call(p, network.Enable, network.EnableParams{})
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: size.Width, Height: size.Height, DeviceScaleFactor: 1, Mobile: size.Mobile,
	})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	for _, source := range before {
		call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source})
	}
	p.Do(chromedp.Navigate(address))
	return p
}

// call a command of the protocol.
func call[P, R any](p *Page, command cdp.Command[P, R], params P) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, command, params); err != nil {
		p.t.Fatalf("telling the browser: %v", err)
	}
}

// hear of the requests that the page makes.
func (p *Page) hear(event any) {
	if e, ok := event.(*network.EventRequestWillBeSent); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		if u, err := url.Parse(e.Request.URL); err == nil {
			p.hosts[u.Host] = true
		}
	}
}

// hearConsole until the tab is closed.
func (p *Page) hearConsole(messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	for m, err := range messages {
		if err != nil {
			return
		}
		if m.IsException() || slices.Contains([]chromedp.ConsoleType{"error", "warning", "assert"}, m.Type) {
			p.mu.Lock()
			p.problems = append(p.problems, m.String())
			p.mu.Unlock()
		}
	}
}

// Problems that the page or the browser complained of since the last look.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	told := p.problems
	p.problems = nil
	return told
}

// Hosts that the page sent requests to.
func (p *Page) Hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for host := range p.hosts {
		all = append(all, host)
	}
	slices.Sort(all)
	return all
}

// Do actions, one after the other.
func (p *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
}

// Eval an expression in the page, which may be a promise, and give its value.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	return get(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

func get[T any](p *Page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
	return value
}

// Text of the first element that a selector finds, as it is shown; empty without one.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	return Eval[string](p, fmt.Sprintf("document.querySelector(%s)?.innerText ?? ''", quote(selector)))
}

// Screenshot of what is in the window, as PNG.
func (p *Page) Screenshot() []byte {
	p.t.Helper()
	return get(p, chromedp.CaptureScreenshot())
}

// Focused tells which element has the focus, by its name.
func (p *Page) Focused() string {
	p.t.Helper()
	return Eval[string](p, `(() => { const e = document.activeElement; return (e.labels?.[0] ?? e).textContent.trim() })()`)
}

// quote a string for JavaScript.
func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}
