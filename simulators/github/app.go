package github

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// app is a GitHub App.
type app struct {
	id            int64
	key           *rsa.PublicKey
	permissions   map[string]string
	installations []*installation
}

// allPermissions is what Apps have at first.
func allPermissions() map[string]string {
	return map[string]string{
		"administration": "write", "actions": "read", "organization_self_hosted_runners": "write", "enterprise_self_hosted_runners": "write",
		"repository_hooks": "write", "organization_hooks": "write", "metadata": "read",
	}
}

// AddApp with the public half of its key, installed on an owner: an organization, or an enterprise, written as
// "enterprise:slug" or as its slug. An App that is added again is installed on one more owner.
func (s *Server) AddApp(id int64, key *rsa.PublicKey, installationID int64, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[id]
	if a == nil {
		a = &app{id: id, permissions: allPermissions()}
		s.apps[id] = a
	}
	a.key = key
	a.install(installationID, owner, s.clock.Now())
}

// SetAppPermissions to these and no others.
func (s *Server) SetAppPermissions(id int64, permissions map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[id].permissions = maps.Clone(permissions)
}

const (
	// jwtLeeway is how far ahead of GitHub's the caller's clock may be.
	jwtLeeway = time.Minute
	// jwtLife is how long an App's signature may be valid. Source: docs.github.com/apps/creating-github-apps/
	// authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app.
	jwtLife = 10 * time.Minute
)

// appOf a request that is signed with an App's key, or how it is refused.
func (s *Server) appOf(req *http.Request) (*app, *reply) {
	var found *app
	claims := jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(credential(req), &claims, func(*jwt.Token) (any, error) {
		id, err := strconv.ParseInt(claims.Issuer, 10, 64)
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
	}, jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation())
	// Clients sign by the real time, whatever clock the simulator has.
	now, message := time.Now(), ""
	switch {
	case err != nil && errors.Is(err, jwt.ErrTokenUnverifiable) && found == nil && claims.Issuer != "":
		message = "Integration not found"
	case err != nil:
		message = "A JSON web token could not be decoded"
	case claims.IssuedAt == nil || claims.IssuedAt.After(now.Add(jwtLeeway)):
		message = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	case claims.ExpiresAt == nil || !claims.ExpiresAt.After(now):
		message = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	case claims.ExpiresAt.After(now.Add(jwtLife)):
		message = "'Expiration time' claim ('exp') is too far in the future"
	default:
		return found, nil
	}
	refused := refuse(http.StatusUnauthorized, message)
	return nil, &refused
}
