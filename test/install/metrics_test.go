package install

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"

	. "github.com/onsi/gomega"
)

// scrapeMetrics through the Service, as Prometheus does: over HTTPS, by those only whom the chart's role allows it.
func (w *world) scrapeMetrics() {
	w.t.Helper()
	w.mustKubectl("-n", "ci", "create", "serviceaccount", "prometheus")
	w.mustKubectl("-n", "ci", "create", "serviceaccount", "stranger")
	w.mustKubectl("create", "clusterrolebinding", "prometheus-metrics", "--clusterrole="+release+"-metrics-reader", "--serviceaccount=ci:prometheus")
	token := func(name string) string {
		return strings.TrimSpace(w.mustKubectl("-n", "ci", "create", "token", name))
	}
	code, _ := w.metrics("")
	w.Expect(code).To(Equal(http.StatusUnauthorized), "without a token")
	code, _ = w.metrics(token("stranger"))
	w.Expect(code).To(Equal(http.StatusForbidden), "with a token that may not")
	code, text := w.metrics(token("prometheus"))
	w.Expect(code).To(Equal(http.StatusOK))
	w.Expect(text).To(ContainSubstring("modalrunner_build_info{"), "whichever replica answers")
	w.mustKubectl("delete", "clusterrolebinding", "prometheus-metrics")
	w.mustKubectl("-n", "ci", "delete", "serviceaccount", "prometheus", "stranger")
}

func (w *world) metrics(token string) (int, string) {
	w.t.Helper()
	http := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the manager's certificate is its own
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return worker.Dial(ctx, namespace, release+"-metrics", "https")
		},
	}}
	req, err := newRequest(w.ctx, "https://metrics:8443/metrics", token)
	w.Expect(err).NotTo(HaveOccurred())
	resp, err := http.Do(req)
	w.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	return resp.StatusCode, string(text)
}

func newRequest(ctx context.Context, url, token string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil && token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, err
}
