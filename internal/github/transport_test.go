package github

import (
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

func TestAServersOwnAuthorityIsTrustedWhenTheSecretHasIt(t *testing.T) {
	front := func(w *secretWorld) *httptest.Server {
		server := httptest.NewTLSServer(w.github)
		t.Cleanup(server.Close)
		return server
	}
	w := newSecretWorld(t, map[string]string{KeyToken: "token"})
	if err := w.list(t.Context(), ofWidgets, front(w).URL); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
	// All servers of httptest have the same certificate.
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front(w).Certificate().Raw})
	w = newSecretWorld(t, map[string]string{KeyToken: "token", KeyCA: string(certificate)})
	if err := w.list(t.Context(), ofWidgets, front(w).URL); err != nil {
		t.Errorf("with the authority: %v", err)
	}
}

func TestAServerIsReachedThroughTheProxyOfTheSecret(t *testing.T) {
	var passed atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("me:hunter2")) {
			out.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		passed.Add(1)
		req.RequestURI = ""
		req.Header.Del("Proxy-Authorization")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for name, values := range resp.Header {
			out.Header()[name] = values
		}
		out.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(out, resp.Body)
	}))
	t.Cleanup(proxy.Close)
	with := func(user string) *secretWorld {
		return newSecretWorld(t, map[string]string{KeyToken: "token", KeyProxy: "http://" + user + strings.TrimPrefix(proxy.URL, "http://")})
	}
	if err := with("me:hunter2@").list(t.Context(), ofWidgets, ""); err != nil || passed.Load() == 0 {
		t.Errorf("through the proxy, %d passed: %v", passed.Load(), err)
	}
	err := with("me:wrong@").list(t.Context(), ofWidgets, "")
	if err == nil || strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "me:") {
		t.Errorf("a proxy that refuses gave %v", err)
	}
}
