package ingress

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPingTellsWhetherTheReceiverAcceptsWhatIsSigned(t *testing.T) {
	folder := func(secret string) string {
		dir := t.TempDir()
		if secret != "" {
			if err := os.WriteFile(filepath.Join(dir, "s"), []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, test := range map[string]struct {
		receiver, sender string
		says             string
		well             bool
	}{
		"the same secret":             {sharedSecret, sharedSecret, "200 OK: pong", true},
		"another secret":              {sharedSecret, "other", "matches no webhook secret", false},
		"a receiver without a secret": {"", sharedSecret, "no webhook secret is configured", false},
		"no secret anywhere":          {"", "", "no webhook secret is configured", true},
		"a sender without a secret":   {sharedSecret, "", "matches no webhook secret", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.webhook.SecretDir = folder(test.receiver)
			server := httptest.NewServer(r.mux)
			defer server.Close()
			answered, err := Ping(t.Context(), server.URL+"/", folder(test.sender))
			if err != nil {
				answered = err.Error()
			}
			if (err == nil) != test.well || !strings.Contains(answered, test.says) {
				t.Errorf("%q, %v", answered, err)
			}
		})
	}
}

func TestAPingIsNotWellWhereAnybodyElseAnswers(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusBadGateway, http.StatusOK} {
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(status) }))
		if answered, err := Ping(t.Context(), server.URL, t.TempDir()); err == nil {
			t.Errorf("%d was taken for well: %s", status, answered)
		}
		server.Close()
	}
	if _, err := Ping(t.Context(), "http://127.0.0.1:1", t.TempDir()); err == nil {
		t.Error("nobody answered, and that was taken for well")
	}
}
