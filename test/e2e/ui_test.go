package e2e

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	. "github.com/onsi/gomega"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
	"github.com/modalrunner/modal-runner-controller/test/browser"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

// withPage is a world in which pools are well, broken, and have runners that crash.
func withPage(t *testing.T) *world {
	return newWorld(t, withBehaviour(func(c modalsim.Container) runner.Behaviour {
		if strings.HasPrefix(c.Name, "crash-") {
			return runner.Crash
		}
		return ""
	}))
}

// everyKind of thing happens: one job fails, two run, one finds the pool full, one has a pool that is broken, and one has runners
// that crash.
func (w *world) everyKind() {
	w.awaitAll([]int64{w.queue("fails", "exit 3")}, "failure")
	for _, name := range []string{"first", "second"} {
		w.awaitRunning(w.queue(name, "sleep 600"))
	}
	w.queue("third", "sleep 600")
	w.github.AddQueuedJob(repository, "unlucky", []string{"broken"})
	w.github.AddQueuedJob(repository, "crashing", []string{"crash"})
}

// text of something that the manager serves.
func (w *world) text(address string) string {
	resp, err := http.Get(address)
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(resp.StatusCode).To(Equal(http.StatusOK), string(body))
	return string(body)
}

func TestTheStatusPageIsLive(t *testing.T) {
	w := withPage(t)
	address := w.manager.StatusPage()
	page := browser.Start(t).Open(t, browser.Desktop, "light", address)
	shown := func(selector string) func() string {
		return func() string { return page.Text(selector) }
	}
	w.Eventually(shown("#link-text")).Should(Equal("Live"))
	w.Expect(page.Text(".pools")).To(ContainSubstring("No pools yet"))
	page.Do(chromedp.Evaluate[chromedp.Void]("window.neverReloaded = true"))

	w.awaitReady(w.pool("p", 2, idleTimeout(0)))
	w.pool("broken", 1, labels("broken"), func(s *v1alpha1.RunnerPoolSpec) { s.Modal.SecretName = "absent" })
	w.pool("crash", 1, labels("crash"))
	w.Eventually(shown(".pools")).Should(And(ContainSubstring("absent"), ContainSubstring("SecretNotFound"), ContainSubstring("Create the Secret that the message names.")))
	w.everyKind()

	w.Eventually(shown(".queue")).Should(And(
		MatchRegexp(`third[^@]*PoolFull\s+all 2 places are taken`), MatchRegexp(`unlucky[^@]*PoolNotReady\s+ModalReady: .*absent`),
		MatchRegexp(`crashing[^@]*RunnerPending\s+Runner crash-0 has no sandbox yet`)))
	w.Eventually(shown(".timeline")).Should(And(MatchRegexp(`first\s+at GitHub\s+Running`), MatchRegexp(`second\s+at GitHub\s+Running`), MatchRegexp(`fails\s+at GitHub\s+Failed`), ContainSubstring("running for")))
	w.Eventually(shown(".failures")).Should(And(ContainSubstring("RunnerCrashed"), ContainSubstring("fails")))
	w.Expect(browser.Eval[string](page, `document.querySelector(".failures pre").textContent`)).To(ContainSubstring("Segmentation fault"))
	w.Eventually(shown(".totals")).Should(And(MatchRegexp(`Runners at work\s+2 of 4`), MatchRegexp(`Jobs waiting\s+3`)))
	w.Expect(browser.Eval[string](page, "document.title")).To(HaveSuffix("not ready · Runners"))
	w.Expect(browser.Eval[string](page, `document.querySelector(".timeline a.sandbox").href`)).To(HavePrefix("https://modal.com/id/sb-"))

	w.Expect(browser.Eval[bool](page, "window.neverReloaded === true")).To(BeTrue(), "all of that came by itself")
	w.Expect(page.Problems()).To(BeEmpty())
	own, err := url.Parse(address)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(page.Hosts()).To(Equal([]string{own.Host}), "nobody else is asked for anything")

	// A manager that is replaced, as it is by an upgrade, is found again.
	w.manager.Kill()
	w.Eventually(shown("#link-text")).Should(HavePrefix("Connection lost"))
	w.startManager()
	w.Eventually(shown("#link-text")).Should(Equal("Live"))
	w.queue("fourth", "sleep 600")
	w.Eventually(shown(".queue")).Should(ContainSubstring("fourth"))
	w.Expect(browser.Eval[bool](page, "window.neverReloaded === true")).To(BeTrue())
}

func TestTheStatusPageIsForEverybody(t *testing.T) {
	w := withPage(t)
	w.awaitReady(w.pool("p", 2, idleTimeout(0)))
	w.pool("broken", 1, labels("broken"), func(s *v1alpha1.RunnerPoolSpec) { s.Modal.SecretName = "absent" })
	w.pool("crash", 1, labels("crash"))
	w.everyKind()
	address := w.manager.StatusPage()
	w.Eventually(func() string { return w.text(address) }).Should(And(ContainSubstring("PoolFull"), ContainSubstring("Segmentation fault")))
	chromium, folder := browser.Start(t), t.TempDir()
	for _, size := range []browser.Size{browser.Desktop, browser.Phone} {
		for _, theme := range browser.Themes {
			page := chromium.Open(t, size, theme, address)
			w.Eventually(func() string { return page.Text("#link-text") }).Should(Equal("Live"))
			picture := page.Screenshot()
			w.Expect(browser.Look(picture, size)).To(Succeed())
			w.Expect(os.WriteFile(filepath.Join(folder, size.Name+"-"+theme+".png"), picture, 0o600)).To(Succeed())
			w.Expect(page.Problems()).To(BeEmpty())
			w.Expect(page.Violations()).To(BeEmpty(), "%s, %s", size.Name, theme)
		}
	}
	w.keyboard(chromium.Open(t, browser.Desktop, "light", address))

	// I6, also where the page tells of what failed.
	for _, text := range []string{w.text(address), w.text(address + "/api/state")} {
		for _, secret := range []string{token, modalSecret, webhookSecret, "JITCONFIG"} {
			w.Expect(strings.Contains(text, secret)).To(BeFalse(), "the status page shows a secret")
		}
		for _, sandbox := range w.modal.Sandboxes() {
			w.Expect(strings.Contains(text, sandbox.Env["ACTIONS_RUNNER_INPUT_JITCONFIG"])).To(BeFalse(), "the status page shows a JIT configuration")
		}
	}
}

// keyboard alone does everything, and what it has opened stays open and focused while the page changes.
func (w *world) keyboard(page *browser.Page) {
	w.t.Helper()
	w.Eventually(func() string { return page.Text("#link-text") }).Should(Equal("Live"))
	press := func(keys string) { page.Do(chromedp.KeyEvent(keys)) }
	until := func(name string) {
		w.t.Helper()
		for range 60 {
			press(kb.Tab)
			if strings.HasPrefix(page.Focused(), name) {
				w.Expect(browser.Eval[string](page, `getComputedStyle(document.activeElement.labels?.length && document.activeElement.type === "radio" ? document.activeElement.nextElementSibling : document.activeElement).outlineStyle`)).
					To(Equal("solid"), "%s shows that it has the focus", name)
				return
			}
		}
		w.t.Fatalf("the keyboard does not reach %s", name)
	}
	press(kb.Tab)
	w.Expect(page.Focused()).To(Equal("Skip to the content"))
	press(kb.Enter)
	w.Expect(browser.Eval[string](page, "document.activeElement.id")).To(Equal("main"))

	page.Do(chromedp.Evaluate[chromedp.Void]("document.activeElement.blur(); document.querySelector('.brand').focus()"))
	until("As the system")
	press(kb.ArrowRight)
	press(kb.ArrowRight)
	w.Expect(browser.Eval[string](page, "document.documentElement.dataset.theme")).To(Equal("dark"))

	until("Conditions of " + w.namespace + "/broken")
	press(kb.Enter)
	w.Expect(page.Text(`[id="pool/` + w.namespace + `/broken"] .conditions`)).To(ContainSubstring("ModalReady: False"))
	w.queue("meanwhile", "sleep 600")
	w.Eventually(func() string { return page.Text(".queue") }).Should(ContainSubstring("meanwhile"))
	w.Expect(page.Focused()).To(HavePrefix("Conditions of " + w.namespace + "/broken"))
	w.Expect(page.Text(`[id="pool/` + w.namespace + `/broken"] .conditions`)).To(ContainSubstring("ModalReady: False"))

	page.Do(chromedp.Evaluate[chromedp.Void]("document.querySelector('.brand').focus()"))
	until("Pool")
	for !strings.HasPrefix(browser.Eval[string](page, "document.activeElement.id"), "f-pool") {
		press(kb.Tab)
	}
	press("brok")
	press(kb.Enter)
	w.Eventually(func() string { return page.Text(".pools .count") }).Should(Equal("1"))
	w.Expect(page.Text(".queue")).To(And(ContainSubstring("unlucky"), Not(ContainSubstring("third"))))
	w.Expect(browser.Eval[string](page, "document.documentElement.dataset.theme")).To(Equal("dark"), "the theme stays")
}

func TestEveryReplicaShowsTheStatusPage(t *testing.T) {
	w := newWorld(t, withArguments("--leader-elect"))
	w.awaitReady(w.pool("p", 1))
	second, err := stack.NewManager(stack.ManagerOptions{
		Binary: binary, Kubeconfig: plane.ManagerKubeconfig, Namespace: w.namespace, ModalURL: w.modal.URL(), WebhookSecret: webhookSecret,
		Arguments: []string{"--namespace=" + w.namespace, "--leader-elect", "--queue-poll-interval=1h"},
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(second.Restart(w.ctx)).To(Succeed())
	t.Cleanup(second.Stop)
	pool := ContainSubstring(`id="pool/` + w.namespace + `/p"`)
	w.Eventually(func() string { return w.text(w.manager.StatusPage()) }).Should(And(pool, ContainSubstring("· leads")))
	w.Eventually(func() string { return w.text(second.StatusPage()) }).Should(And(pool, ContainSubstring("stands by")))
}
