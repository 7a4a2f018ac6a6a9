package github

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// TokenKind says how a token's rights are written.
type TokenKind string

// The kinds of tokens that tests make; those of App installations are made by the API.
const (
	// ClassicToken is a personal access token (classic); its permissions are OAuth scopes, as keys.
	ClassicToken TokenKind = "classic"
	// FineGrainedToken is a fine-grained personal access token; its permissions are GitHub's names with read or write.
	FineGrainedToken TokenKind = "fine-grained"

	appToken TokenKind = "app"
	// almighty tokens may do anything on their grants.
	almighty TokenKind = ""
)

type token struct {
	value       string
	kind        TokenKind
	grants      []string
	permissions map[string]string
	expires     time.Time // zero: never
	// installation of an App that the token was made for.
	installation *installation
}

// AddToken that may do anything with what is granted: owners (organizations or enterprises) or repositories.
func (s *Server) AddToken(value string, grants ...string) {
	s.AddTokenWith(value, almighty, grants, nil)
}

// AddTokenWith no more than these permissions on what is granted.
func (s *Server) AddTokenWith(value string, kind TokenKind, grants []string, permissions map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[value] = &token{value: value, kind: kind, grants: grants, permissions: permissions}
}

// RevokeToken makes a token invalid.
func (s *Server) RevokeToken(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, value)
}

// ExpireToken makes a token expire now.
func (s *Server) ExpireToken(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, known := s.tokens[value]; known {
		t.expires = s.clock.Now().Add(-time.Nanosecond)
	}
}

func credential(req *http.Request) string {
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return ""
	}
	return value
}

// identify who asks.
func (s *Server) identify(req *http.Request) (*token, *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.tokens[credential(req)]
	switch {
	case !known, !t.expires.IsZero() && s.clock.Now().After(t.expires), t.installation != nil && t.installation.removed:
		denied := refuse(http.StatusUnauthorized, "Bad credentials")
		return nil, &denied
	case t.installation != nil && !t.installation.suspended.IsZero():
		denied := refuse(http.StatusForbidden, "This installation has been suspended")
		return nil, &denied
	}
	return t, nil
}

// tokenOf a request that was let in. The lock is held.
func (s *Server) tokenOf(req *http.Request) *token {
	if t, known := s.tokens[credential(req)]; known {
		return t
	}
	// It was revoked since.
	return &token{value: credential(req)}
}

// authorize what is asked, or say how it is denied.
func (s *Server) authorize(t *token, params map[string]string, n need) *reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	var denied reply
	switch {
	case n.free:
		return nil
	case n.installation && t.kind != appToken:
		denied = refuse(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
		return &denied
	case n.installation:
		return nil
	}
	owner, full := params["org"]+params["enterprise"]+params["owner"], ""
	if policy := s.owners[strings.ToLower(owner)]; policy != nil && params["enterprise"] == "" {
		if refused := policy.refuses(t, owner); refused != nil {
			return refused
		}
	}
	private := false
	if name := params["repo"]; name != "" {
		full = owner + "/" + name
		repo, exists := s.repos[strings.ToLower(full)]
		if !exists {
			denied = notFound()
			return &denied
		}
		private = repo.Private
	}
	granted := t.grantsTo(owner, full)
	switch {
	case private && (!granted || !t.readsPrivate(n)):
		denied = notFound()
	case n.public && !private:
		return nil
	case granted && t.may(n):
		return nil
	default:
		denied = t.refusal(n)
	}
	return &denied
}

// grantsTo says whether the token has anything to do with an owner, or with a repository of it.
func (t *token) grantsTo(owner, full string) bool {
	return slices.ContainsFunc(t.grants, func(grant string) bool {
		return strings.EqualFold(grant, owner) || strings.EqualFold(grant, full) || strings.EqualFold(grant, "enterprise:"+owner)
	})
}

// sees says whether a private repository is shown to the token.
func (t *token) sees(r *repository) bool {
	return t.grantsTo(r.owner(), r.fullName) && (t.kind != ClassicToken || t.hasScope("repo"))
}
