package ingress

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// pingTimeout is how long GitHub waits for an answer.
const pingTimeout = 10 * time.Second

// Ping a receiver at an address without Path, as GitHub does when a webhook is made: with a signature by one of the secrets in a
// folder. Without a secret, no delivery can be accepted: then it suffices that the receiver refuses this one for that reason. It
// gives what the receiver answered.
func Ping(ctx context.Context, address, secretDir string) (string, error) {
	secrets, err := readSecrets(secretDir)
	if err != nil {
		return "", fmt.Errorf("reading the webhook secrets: %w", err)
	}
	body, signature, want := `{"zen":"Is anybody there?"}`, sha256.New(), http.StatusUnauthorized
	if len(secrets) > 0 {
		signature, want = hmac.New(sha256.New, secrets[0]), http.StatusOK
	}
	_, _ = signature.Write([]byte(body))
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(address, "/")+Path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(gh.EventTypeHeader, "ping")
	req.Header.Set(gh.SHA256SignatureHeader, "sha256="+hex.EncodeToString(signature.Sum(nil)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("delivering a ping: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	// An answer of the receiver is a line.
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return "", fmt.Errorf("reading the answer to a ping: %w", err)
	}
	answered := resp.Status + ": " + strings.TrimSpace(string(text))
	if resp.StatusCode != want || want != http.StatusOK && strings.TrimSpace(string(text)) != noSecrets.text {
		return "", fmt.Errorf("a ping was answered %s", answered)
	}
	return answered, nil
}
