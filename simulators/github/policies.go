package github

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// ownerPolicy is what an organization asks of credentials besides their rights.
type ownerPolicy struct {
	unauthorized []string // tokens that are not authorized for its single sign-on
	refusesIP    bool
}

// RequireSSO of an organization of these tokens, which were not authorized for it; no tokens end it.
func (s *Server) RequireSSO(org string, tokens ...string) {
	s.policy(org, func(p *ownerPolicy) { p.unauthorized = tokens })
}

// RefuseIP has an organization refuse the address of every caller.
func (s *Server) RefuseIP(org string) { s.policy(org, func(p *ownerPolicy) { p.refusesIP = true }) }

// AllowIP ends RefuseIP.
func (s *Server) AllowIP(org string) { s.policy(org, func(p *ownerPolicy) { p.refusesIP = false }) }

func (s *Server) policy(org string, change func(*ownerPolicy)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(org)
	if s.owners[key] == nil {
		s.owners[key] = &ownerPolicy{}
	}
	change(s.owners[key])
}

func (p *ownerPolicy) refuses(t *token, org string) *reply {
	switch {
	case p.refusesIP:
		refused := refuse(http.StatusForbidden, fmt.Sprintf("Although you appear to have the correct authorization credentials, the `%s` "+
			"organization has an IP allow list enabled, and your IP address is not permitted to access this resource.", org))
		return &refused
	case slices.Contains(p.unauthorized, t.value):
		refused := refuse(http.StatusForbidden, "Resource protected by organization SAML enforcement. You must grant your Personal Access "+
			"token access to this organization.")
		refused.header = http.Header{}
		refused.header.Set("X-GitHub-SSO", fmt.Sprintf("required; url=https://github.com/orgs/%s/sso?authorization_request=A0", org))
		return &refused
	default:
		return nil
	}
}
