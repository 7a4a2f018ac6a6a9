package github

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
)

// transports keeps one HTTP transport per set of certificates and proxy, so that connections are shared.
type transports struct {
	mu   sync.Mutex
	kept map[string]http.RoundTripper
}

func newTransports() *transports { return &transports{kept: map[string]http.RoundTripper{}} }

// get the transport that trusts the certificates beside the system's, and goes through the proxy: when none is given,
// through the one that HTTPS_PROXY and NO_PROXY in the environment name.
func (t *transports) get(certificates, proxy credentials.Redacted) (http.RoundTripper, error) {
	key := digest(certificates.Reveal(), proxy.Reveal())
	t.mu.Lock()
	defer t.mu.Unlock()
	if transport, ok := t.kept[key]; ok {
		return transport, nil
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
	t.kept[key] = transport
	return transport, nil
}
