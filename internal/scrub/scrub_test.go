package scrub

import (
	"strings"
	"testing"
)

func TestTextHidesSecretsOfEveryForm(t *testing.T) {
	for name, secret := range map[string]string{
		"classic token":      "ghp_" + strings.Repeat("aB3", 12),
		"installation token": "ghs_" + strings.Repeat("aB3", 12),
		"fine-grained token": "github_pat_" + strings.Repeat("11AB_", 8),
		"Modal token":        "ak-" + strings.Repeat("Zx9", 7),
		"Modal secret":       "as-" + strings.Repeat("Zx9", 7),
		"JWT":                "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiI0MiJ9.c2lnbmF0dXJl",
		"JIT config":         strings.Repeat("eyIucnVubmVyIjoi", 20) + "==",
		"half a JIT config":  strings.Repeat("QUJD", 20),
		"private key":        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----",
		"cut private key":    "-----BEGIN PRIVATE KEY-----\nMIIEow\nabc",
	} {
		for _, text := range []string{secret, "before " + secret + " after", "x=" + secret + "\nnext"} {
			if got := Text(text); strings.Contains(got, secret) || !strings.Contains(got, placeholder) {
				t.Errorf("%s: %q became %q", name, text, got)
			}
		}
	}
}

func TestTextHidesValuesOfWhatIsNamedLikeASecret(t *testing.T) {
	for _, text := range []string{
		"MY_API_KEY=hunter2!", `password: "hunter2!"`, "Authorization: Bearer hunter2hunter2!", "db_passwd = hunter2!",
		"https://me:hunter2!@example.org/x", "ACTIONS_RUNNER_INPUT_JITCONFIG=hunter2!",
	} {
		if got := Text(text); strings.Contains(got, "hunter2!") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestTextLeavesTheRunnersOwnLogAlone(t *testing.T) {
	log := "√ Connected to GitHub\n\nCurrent runner version: '2.330.0'\n2026-11-23 18:00:00Z: Listening for Jobs\n" +
		"2026-11-23 18:00:01Z: Running job: build\nAn error occurred: Segmentation fault\n" +
		"/opt/actions-runner/bin/Runner.Listener: error while loading shared libraries: libicu.so.74\n"
	if got := Text(log); got != log {
		t.Errorf("the log became\n%s", got)
	}
}
