// Package ui looks at the status page in a real browser. What it shows here does not change, so that the docs' pictures do not
// either; test/e2e has it with the whole product behind it.
package ui

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/ui"
	"github.com/modalrunner/modal-runner-controller/test/browser"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

var update = flag.Bool("update", false, "Write the docs' pictures of the status page anew.")

// pictures of the docs.
const pictures = "../../docs/images"

// serve the page over a fleet at the samples' time, and give its address.
func serve(t *testing.T, fleet *samples.Fleet) string {
	t.Helper()
	scheme := runtime.NewScheme()
	NewWithT(t).Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	objects := fake.NewClientBuilder().WithScheme(scheme)
	if fleet != nil {
		objects = objects.WithLists(
			&v1alpha1.RunnerPoolList{Items: fleet.Pools}, &v1alpha1.RunnerList{Items: fleet.Runners}, &v1alpha1.WorkflowJobList{Items: fleet.Jobs})
	}
	elected := make(chan struct{})
	close(elected)
	server := httptest.NewServer(ui.New(ui.Options{
		Address: "127.0.0.1:0", Reader: objects.Build(), Clock: clocktesting.NewFakeClock(samples.Now), Elected: elected, Log: logr.Discard(),
		Replica: "modal-runner-controller-6b8d5c9f4-x2x7k", Version: "v0.1.0",
	}).Handler())
	t.Cleanup(server.CloseClientConnections)
	return server.URL + ui.Path
}

// stopClock has the page's clock stand still.
var stopClock = fmt.Sprintf("Date.now = () => %d", samples.Now.UnixMilli())

// maxDifference of a picture from the docs' is what another machine's fonts may make of it.
const maxDifference = 0.25

func TestThePicturesOfTheDocsShowThePage(t *testing.T) {
	b, address := browser.Start(t), serve(t, samples.NewFleet())
	for _, size := range []browser.Size{browser.Desktop, browser.Phone} {
		for _, theme := range browser.Themes {
			t.Run(size.Name+" "+theme, func(t *testing.T) {
				g := NewWithT(t)
				page := b.Open(t, size, theme, address, stopClock)
				g.Eventually(func() string { return page.Text("#link-text") }, "30s").Should(Equal("Live"))
				picture := page.Screenshot()
				g.Expect(browser.Look(picture, size)).To(Succeed())
				path := filepath.Join(pictures, fmt.Sprintf("ui-%s-%s.png", size.Name, theme))
				if *update {
					g.Expect(os.MkdirAll(pictures, 0o750)).To(Succeed())
					g.Expect(os.WriteFile(path, picture, 0o600)).To(Succeed())
				}
				before, err := os.ReadFile(path)
				g.Expect(err).NotTo(HaveOccurred(), "run go test ./test/ui -update")
				difference, err := browser.Difference(before, picture)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(difference).To(BeNumerically("<", maxDifference), "the page is not as in %s: run go test ./test/ui -update and look", path)
				g.Expect(page.Problems()).To(BeEmpty())
			})
		}
	}
}

// The server tells times for the first paint, and the page's own clock from then on: in the same words.
func TestThePageTellsTimesAsTheServerDoes(t *testing.T) {
	g := NewWithT(t)
	page := browser.Start(t).Open(t, browser.Desktop, "light", serve(t, samples.NewFleet()), stopClock)
	g.Eventually(func() string { return page.Text("#link-text") }, "30s").Should(Equal("Live"))
	const all = `[...%s.querySelectorAll("time[data-tell]")].map(t => t.textContent).concat([...%[1]s.querySelectorAll("rect[data-from]")].map(r => r.getAttribute("x") + " " + r.getAttribute("width")))`
	served := browser.Eval[[]string](page, `fetch("/ui").then(r => r.text()).then(text => { const d = new DOMParser().parseFromString(text, "text/html"); return `+fmt.Sprintf(all, "d")+` })`)
	shown := browser.Eval[[]string](page, fmt.Sprintf(all, "document"))
	g.Expect(shown).To(Equal(served))
	g.Expect(len(shown)).To(BeNumerically(">", 50))
	// An hour and a bit later, though nothing has changed, the page tells so.
	later := samples.Now.Add(65 * time.Minute).UnixMilli()
	page.Do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("Date.now = () => %d", later)))
	g.Eventually(func() string { return page.Text(".failures time") }, "30s").Should(Equal("1h 6m ago"))
}

func TestEverybodyCanUseThePage(t *testing.T) {
	b := browser.Start(t)
	for name, fleet := range map[string]*samples.Fleet{"busy": samples.NewFleet(), "empty": nil} {
		address := serve(t, fleet)
		for _, size := range []browser.Size{browser.Desktop, browser.Phone} {
			for _, theme := range browser.Themes {
				t.Run(name+" "+size.Name+" "+theme, func(t *testing.T) {
					g := NewWithT(t)
					page := b.Open(t, size, theme, address)
					g.Expect(page.Violations()).To(BeEmpty())
					g.Expect(browser.Eval[int](page, "document.documentElement.scrollWidth")).To(BeNumerically("<=", size.Width), "it scrolls sideways")
				})
			}
		}
	}
}
