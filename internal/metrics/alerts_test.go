package metrics

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	alertsFile = "../../charts/modal-runner-controller/files/alerts.yaml"
	testsFile  = "../../hack/prometheus/alerts_test.yaml"
	runbook    = "../../docs/runbook"
)

type alertRule struct {
	Alert, Expr string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) map[string]alertRule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	parse(t, alertsFile, &file)
	all := map[string]alertRule{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if _, twice := all[rule.Alert]; twice || rule.Alert == "" {
				t.Errorf("the rule %q is no alert, or is there twice", rule.Alert)
			}
			all[rule.Alert] = rule
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

func parse(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// Each alert has a page of its own, which tells its severity, and each page an alert.
func TestEachAlertHasItsPageInTheRunbook(t *testing.T) {
	pages, err := filepath.Glob(runbook + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(runbook + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	without := alerts(t)
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		if name == "README" {
			continue
		}
		rule, known := without[name]
		if delete(without, name); !known {
			t.Errorf("%s is about no alert", page)
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, wanted := range []string{
			"# " + name + "\n", "\nSeverity: " + rule.Labels["severity"] + ".", "\n## Impact\n", "\n## Look\n", "```sh\nkubectl ", "```promql\n", "\n## Mend\n",
		} {
			if !strings.Contains(string(text), wanted) {
				t.Errorf("%s lacks %q", page, wanted)
			}
		}
		if !strings.Contains(string(index), "["+name+"]("+name+".md) | "+rule.Labels["severity"]+" |") {
			t.Errorf("%s/README.md lacks %s", runbook, name)
		}
		if want := "https://github.com/modalrunner/modal-runner-controller/blob/main/docs/runbook/" + name + ".md"; rule.Annotations["runbook_url"] != want {
			t.Errorf("%s has the runbook_url %q", name, rule.Annotations["runbook_url"])
		}
	}
	for name := range without {
		t.Errorf("%s has no page in docs/runbook", name)
	}
}

// used are the metrics in a query, as they are declared.
var used = regexp.MustCompile(`\bmodalrunner_[a-z_]+`)

func TestAlertsAndTheirPagesAskForMetricsThatThereAre(t *testing.T) {
	known := names(t)
	queries := map[string]string{}
	for name, rule := range alerts(t) {
		queries["the alert "+name] = rule.Expr
		text, err := os.ReadFile(filepath.Join(runbook, name+".md"))
		if err != nil {
			t.Fatal(err)
		}
		queries["the page of "+name] = string(text)
	}
	for where, query := range queries {
		for _, metric := range used.FindAllString(query, -1) {
			base := metric
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if _, ok := known[base]; !ok {
				t.Errorf("%s asks for %s, which there is not", where, metric)
			}
		}
	}
}

// promtool runs the tests (make alerts); here is seen that none is left out.
func TestEachAlertIsTestedToFireAndToKeepQuiet(t *testing.T) {
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert    string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	parse(t, testsFile, &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Expected) > 0 {
				fires[c.Alert] = true
			} else {
				quiet[c.Alert] = true
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: tested to fire: %t, to keep quiet: %t", name, fires[name], quiet[name])
		}
	}
}
