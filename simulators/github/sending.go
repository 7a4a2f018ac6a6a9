package github

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // GitHub sends this signature too
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// deliveryTimeout is GitHub's. Source: docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks.
const deliveryTimeout = 10 * time.Second

// result of an attempt to deliver.
type result struct {
	status   int    // 0 when there was no answer
	text     string // GitHub's words for it
	answer   string
	took     time.Duration
	sent     http.Header
	received http.Header
}

func invalidAnswer(status int) string { return fmt.Sprintf("Invalid HTTP Response: %d", status) }

// send a delivery to its hook as that is now.
func (s *Server) send(d *Delivery) {
	s.mu.Lock()
	h := d.hook.Hook
	s.mu.Unlock()
	req, err := requestFor(s.context, &h, d)
	got := result{text: "failed to connect to host"}
	if err == nil {
		began := time.Now()
		got = exchange(req, h.InsecureSSL)
		got.took, got.sent = time.Since(began), req.Header
	}
	if s.context.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over(d, got)
}

func requestFor(ctx context.Context, h *Hook, d *Delivery) (*http.Request, error) {
	body, contentType := string(d.Body), "application/json"
	if h.ContentType == "form" {
		body, contentType = "payload="+url.QueryEscape(body), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"Content-Type": contentType, "Accept": "*/*", "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Event": d.Event,
		"X-GitHub-Delivery": d.GUID, "X-GitHub-Hook-ID": fmt.Sprint(h.ID),
		"X-GitHub-Hook-Installation-Target-Type": targetType(h),
	} {
		req.Header.Set(name, value)
	}
	if h.Secret != "" {
		req.Header.Set("X-Hub-Signature", "sha1="+sign(sha1.New, h.Secret, body))
		req.Header.Set("X-Hub-Signature-256", "sha256="+sign(sha256.New, h.Secret, body))
	}
	return req, nil
}

func targetType(h *Hook) string {
	if h.kind() == "App" {
		return "integration"
	}
	return strings.ToLower(h.kind())
}

var (
	verifying = &http.Client{Timeout: deliveryTimeout, CheckRedirect: followNone}
	trusting  = &http.Client{Timeout: deliveryTimeout, CheckRedirect: followNone, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, IdleConnTimeout: time.Minute, //nolint:gosec // as the hook says
	}}
)

// followNone: GitHub follows no redirects.
func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// exchange a delivery for an answer.
func exchange(req *http.Request, insecure bool) result {
	client := verifying
	if insecure {
		client = trusting
	}
	resp, err := client.Do(req)
	var waited net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &waited) && waited.Timeout():
		return result{text: "timed out"}
	case errors.As(err, &certificate):
		return result{text: "Peer certificate cannot be authenticated with given CA certificates"}
	case err != nil:
		return result{text: "failed to connect to host"}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	got := result{status: resp.StatusCode, text: "OK", answer: string(answer), received: resp.Header}
	if !isSuccess(resp.StatusCode) {
		got.text = invalidAnswer(resp.StatusCode)
	}
	return got
}

func isSuccess(status int) bool { return status >= 200 && status < 300 }

func sign(algorithm func() hash.Hash, secret, body string) string {
	mac := hmac.New(algorithm, []byte(secret))
	_, _ = mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}
