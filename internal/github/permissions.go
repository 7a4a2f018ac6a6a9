package github

import (
	"net/http"
	"net/url"
	"strings"
)

// missing says what a refused credential lacks, from the headers in which GitHub tells it; nothing when it does not.
// Sources: docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible,
// docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps,
// docs.github.com/rest/authentication/authenticating-to-the-rest-api#authenticating-with-single-sign-on-sso.
func missing(header http.Header) string {
	if required, at, ok := strings.Cut(header.Get("X-GitHub-SSO"), "; url="); ok && required == "required" {
		return "; authorize the token for the organization's single sign-on" + page(at)
	}
	if accepted := header.Get("X-Accepted-GitHub-Permissions"); accepted != "" {
		return "; the credentials need the permission " + permissionsIn(accepted)
	}
	accepted, has := header.Get("X-Accepted-OAuth-Scopes"), header.Get("X-OAuth-Scopes")
	if accepted != "" && !anyScope(accepted, has) {
		if has == "" {
			has = "none"
		}
		return "; the token needs the scope " + strings.Join(scopesIn(accepted), " or ") + " and has " + has
	}
	return ""
}

// page of a URL, without its query: that is for the one who opens it while logged in.
func page(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return " at " + u.Scheme + "://" + u.Host + u.Path
}

// permissionsIn a header like "administration=write,metadata=read; contents=write", in words.
func permissionsIn(header string) string {
	var alternatives []string
	for alternative := range strings.SplitSeq(header, ";") {
		var all []string
		for permission := range strings.SplitSeq(alternative, ",") {
			name, level, _ := strings.Cut(strings.TrimSpace(permission), "=")
			all = append(all, name+" ("+level+")")
		}
		alternatives = append(alternatives, strings.Join(all, " and "))
	}
	return strings.Join(alternatives, ", or ")
}

func anyScope(accepted, has string) bool {
	for _, scope := range scopesIn(accepted) {
		for _, h := range scopesIn(has) {
			if h == scope {
				return true
			}
		}
	}
	return false
}

func scopesIn(header string) []string {
	var all []string
	for scope := range strings.SplitSeq(header, ",") {
		if scope := strings.TrimSpace(scope); scope != "" {
			all = append(all, scope)
		}
	}
	return all
}
