// Package scrub takes what may be a secret out of text that comes from outside, before it is shown (invariant I6).
package scrub

import "regexp"

const placeholder = "[redacted]"

// secrets by their forms. What only looks like one goes too: the text is for people, and a hole in it costs less than a
// secret in an object.
var secrets = []struct {
	form    *regexp.Regexp
	replace string
}{
	// Private keys, whole or cut off.
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`), placeholder},
	// GitHub's tokens. Source: github.blog/changelog/2021-03-31-authentication-token-format-updates-are-generally-available.
	{regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,})`), placeholder},
	// Modal's tokens.
	{regexp.MustCompile(`\b(ak|as|wk|ws)-[A-Za-z0-9_-]{8,}`), placeholder},
	// JSON Web Tokens.
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`), placeholder},
	// Authorization headers and credentials in URLs.
	{regexp.MustCompile(`(?i)\b(authorization:\s*\S+|bearer|basic|token)\s+[A-Za-z0-9+/=._~-]{12,}`), placeholder},
	{regexp.MustCompile(`(://)[^/@\s:]+:[^/@\s]+@`), "${1}" + placeholder + "@"},
	// Assignments to what is named like a secret.
	{regexp.MustCompile(`(?i)\b([A-Z0-9_.-]*(?:secret|token|password|passwd|api_?key|access_?key|private_?key|jitconfig)[A-Z0-9_.-]*)(["']?\s*[=:]\s*["']?)[^\s"',;]+`), "${1}${2}" + placeholder},
	// Long runs of base64 or hexadecimal digits, as a JIT config is. Lines of the runner's own log have none.
	{regexp.MustCompile(`[A-Za-z0-9+/_-]{60,}={0,2}`), placeholder},
}

// Text without what may be a secret.
func Text(text string) string {
	for _, secret := range secrets {
		text = secret.form.ReplaceAllString(text, secret.replace)
	}
	return text
}
