package modal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"k8s.io/utils/clock"
)

// tokens knows who may call. A call carries a token's ID and secret; unary calls also carry an auth token, a JWT that
// AuthTokenGet gave to that token. Source: injectRequiredHeaders and authTokenInterceptor in the SDK's client.go.
type tokens struct {
	clock clock.PassiveClock
	life  time.Duration
	key   []byte

	mu      sync.Mutex
	secrets map[string]string
}

func newTokens(seed int64, c clock.PassiveClock, life time.Duration) *tokens {
	key := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("auth tokens"), uint64(seed)))
	return &tokens{clock: c, life: life, key: key[:], secrets: map[string]string{}}
}

// AddToken that is accepted from now on. Modal's own look like ak-... and as-...; an ID without the prefix is malformed.
func (s *Server) AddToken(id, secret string) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	s.tokens.secrets[id] = secret
}

// RevokeToken so that it, and the auth tokens it was given, are refused from now on.
func (s *Server) RevokeToken(id string) {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	delete(s.tokens.secrets, id)
}

func unauthenticated(message string) error { return status.Error(codes.Unauthenticated, message) }

// check the metadata of a call, and give the ID of its token.
func (t *tokens) check(ctx context.Context, needsAuthToken bool) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if one(md, "x-modal-client-type") == "" || one(md, "x-modal-client-version") == "" {
		return "", invalid("missing client type or version in metadata")
	}
	id, secret := one(md, "x-modal-token-id"), one(md, "x-modal-token-secret")
	if id == "" || secret == "" {
		return "", unauthenticated("Token missing. Could not authenticate client. If you have token credentials, see " +
			"modal.com/docs/reference/modal.config for setup help.")
	}
	if !strings.HasPrefix(id, "ak-") {
		return "", unauthenticated("Token ID is malformed")
	}
	t.mu.Lock()
	expected, known := t.secrets[id]
	t.mu.Unlock()
	if !known {
		return "", unauthenticated("Token not found")
	}
	if !hmac.Equal([]byte(secret), []byte(expected)) {
		return "", unauthenticated("Token validation failed")
	}
	if needsAuthToken {
		if subject, err := t.open("auth", one(md, "x-modal-auth-token")); err != nil || subject != id {
			return "", unauthenticated("Invalid or expired auth token")
		}
	}
	return id, nil
}

// one value of a metadata key, or none. The same value may be there twice: the SDK asks for an auth token in the context
// of the call that needs it, and so sends its headers double.
func one(md metadata.MD, key string) string {
	if values := slices.Compact(slices.Clone(md.Get(key))); len(values) == 1 {
		return values[0]
	}
	return ""
}

// claims of a JWT made here.
type claims struct {
	Use     string `json:"use"`
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
}

var jwtHeader = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))

// seal a JWT for a use.
func (t *tokens) seal(use, subject string) string {
	body, _ := json.Marshal(claims{Use: use, Subject: subject, Expires: t.clock.Now().Add(t.life).Unix()})
	text := jwtHeader + "." + base64.RawURLEncoding.EncodeToString(body)
	return text + "." + t.signature(text)
}

func (t *tokens) signature(text string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// open a JWT and give its subject.
func (t *tokens) open(use, token string) (string, error) {
	signedPart, signature, _ := cutLast(token, ".")
	if !hmac.Equal([]byte(signature), []byte(t.signature(signedPart))) {
		return "", unauthenticated("invalid signature")
	}
	_, payload, _ := strings.Cut(signedPart, ".")
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", unauthenticated("malformed token")
	}
	var c claims
	if err := json.Unmarshal(body, &c); err != nil || c.Use != use || t.clock.Now().Unix() >= c.Expires {
		return "", unauthenticated("expired token")
	}
	return c.Subject, nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

// AuthTokenGet gives the caller's token an auth token.
func (c *control) AuthTokenGet(ctx context.Context, _ *pb.AuthTokenGetRequest) (*pb.AuthTokenGetResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return pb.AuthTokenGetResponse_builder{Token: c.tokens.seal("auth", one(md, "x-modal-token-id"))}.Build(), nil
}

// checkTask checks the JWT of a call to a task's command router, and gives the task.
func (t *tokens) checkTask(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	token, found := strings.CutPrefix(one(md, "authorization"), "Bearer ")
	if !found {
		return "", unauthenticated("missing bearer token")
	}
	return t.open("task", token)
}
