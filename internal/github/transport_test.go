package github

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/modalrunner/modal-runner-controller/internal/credentials"
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

// Each change of a Secret's proxy or certificates makes a transport: those before are not kept for ever.
func TestTransportsThatNobodyUsesAreForgotten(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	all := newTransports(clock)
	for i := range 100 {
		for _, proxy := range []string{"http://used:1", fmt.Sprintf("http://proxy-%d:1", i)} {
			if _, err := all.get("", credentials.Redacted(proxy)); err != nil {
				t.Fatal(err)
			}
		}
		clock.Step(unusedAfter / 10)
	}
	if got := len(all.kept); got > 13 {
		t.Errorf("%d transports are kept", got)
	}
	if _, kept := all.kept[digest("", "http://used:1")]; !kept {
		t.Error("one that is used is not kept")
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
