package github

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type app struct {
	id           int64
	key          *rsa.PublicKey
	installation int64
	owner        string
}

// AddApp with the public half of its key, installed on an owner.
func (s *Server) AddApp(id int64, key *rsa.PublicKey, installation int64, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[id] = &app{id: id, key: key, installation: installation, owner: owner}
}

// appOf a request that is signed with an App's key.
func (s *Server) appOf(req *http.Request) *app {
	var found *app
	_, err := jwt.Parse(credential(req), func(t *jwt.Token) (any, error) {
		issuer, err := t.Claims.GetIssuer()
		if err != nil {
			return nil, err
		}
		id, err := strconv.ParseInt(issuer, 10, 64)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		known, ok := s.apps[id]
		if !ok {
			return nil, fmt.Errorf("no App %d", id)
		}
		found = known
		return known.key, nil
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired())
	if err != nil {
		return nil
	}
	return found
}

func (s *Server) getInstallation(req *http.Request, params map[string]string) reply {
	a := s.appOf(req)
	switch {
	case a == nil:
		return refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")
	case !strings.EqualFold(a.owner, params["org"]+params["owner"]):
		return notFound()
	default:
		return ok(map[string]any{"id": a.installation, "app_id": a.id, "account": map[string]any{"login": a.owner}})
	}
}

// installationTokenLife is GitHub's. Source: docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app.
const installationTokenLife = time.Hour

func (s *Server) createInstallationToken(req *http.Request, params map[string]string) reply {
	a := s.appOf(req)
	if a == nil {
		return refuse(http.StatusUnauthorized, "A JSON web token could not be decoded")
	}
	if fmt.Sprint(a.installation) != params["installation"] {
		return notFound()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value := fmt.Sprintf("ghs_installation%d", s.newID())
	expires := s.clock.Now().Add(installationTokenLife)
	s.tokens[value] = &token{grants: []string{a.owner}, expires: expires}
	return reply{status: http.StatusCreated, body: map[string]any{
		"token": value, "expires_at": stamp(expires), "permissions": map[string]string{"administration": "write", "actions": "read"},
	}}
}
