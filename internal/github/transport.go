package github

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

// transports keeps one HTTP transport per set of certificates and proxy, so that connections are shared, as long as it is used.
type transports struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	kept map[string]*keptTransport
}

type keptTransport struct {
	*http.Transport
	used time.Time
}

func newTransports(clock clock.PassiveClock) *transports {
	return &transports{clock: clock, kept: map[string]*keptTransport{}}
}

// get the transport that trusts the certificates beside the system's, and goes through the proxy: when none is given,
// through the one that HTTPS_PROXY and NO_PROXY in the environment name.
func (t *transports) get(certificates, proxy credentials.Redacted) (http.RoundTripper, error) {
	key := digest(certificates.Reveal(), proxy.Reveal())
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if kept, ok := t.kept[key]; ok {
		kept.used = now
		return kept.Transport, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = callTimeout
	transport.IdleConnTimeout = time.Minute
	if certificates != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(certificates.Reveal())) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", KeyCA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if proxy != "" {
		// The parser's error would show the URL, and with it the password.
		through, err := url.Parse(proxy.Reveal())
		if err != nil || through.Host == "" || through.Scheme != "http" && through.Scheme != "https" && through.Scheme != "socks5" {
			return nil, fmt.Errorf("%s is not of the form http://proxy.example.com:3128", KeyProxy)
		}
		transport.Proxy = http.ProxyURL(through)
	}
	maps.DeleteFunc(t.kept, func(_ string, kept *keptTransport) bool {
		unused := now.Sub(kept.used) > unusedAfter
		if unused {
			kept.CloseIdleConnections()
		}
		return unused
	})
	t.kept[key] = &keptTransport{transport, now}
	return transport, nil
}
