package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

const (
	dashboardFile = "../../charts/modal-runner-controller/files/dashboards/modal-runner-controller.json"
	alertsFile    = "../../charts/modal-runner-controller/files/alerts.yaml"
)

// panel of a Grafana dashboard, as far as it is looked at.
type panel struct {
	Title, Type, Description string
	Targets                  []struct{ Expr, LegendFormat string }
}

type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

// answer of Prometheus's engine to a query.
type answer struct {
	Error  string
	Series []struct {
		Labels map[string]string
		Value  string
	}
}

// ask Prometheus's engine of what was scraped, as if the scrapes had been half a minute apart and the last one now.
func (o *observed) ask(queries ...string) []answer {
	o.t.Helper()
	program := filepath.Join(o.t.TempDir(), "queries")
	build := exec.CommandContext(o.ctx, "go", "-C", "../../hack/prometheus", "build", "-o", program, "./queries")
	if out, err := build.CombinedOutput(); err != nil {
		o.t.Fatalf("building the engine: %v\n%s", err, out)
	}
	type scrape struct {
		At   int64
		Text string
	}
	var scrapes []scrape
	for i, text := range o.scrapes {
		back := time.Duration(len(o.scrapes)-1-i) * 30 * time.Second
		scrapes = append(scrapes, scrape{time.Now().Add(-back).UnixMilli(), text})
	}
	input, err := json.Marshal(map[string]any{
		"Scrapes": scrapes, "Queries": queries,
		"Target": map[string]string{"job": "modal-runner-controller-metrics", "namespace": "modal-runner-system", "pod": "manager-0"},
	})
	o.Expect(err).NotTo(HaveOccurred())
	engine := exec.CommandContext(o.ctx, program)
	var stderr bytes.Buffer
	engine.Stdin, engine.Stderr = bytes.NewReader(input), &stderr
	out, err := engine.Output()
	o.Expect(err).NotTo(HaveOccurred(), stderr.String())
	var answers []answer
	o.Expect(json.Unmarshal(out, &answers)).To(Succeed())
	o.Expect(answers).To(HaveLen(len(queries)))
	return answers
}

// variables of the dashboard as Grafana fills them in when all is chosen.
var variables = strings.NewReplacer(
	"$__rate_interval", "2m", "$__range", "10m", "$pool_namespace", ".*", "$pool", ".*", "$job", ".*",
)

// withoutValue are labels of legends that have no value here, and why.
var withoutValue = map[string]string{"gpu": "no sandbox of this test has a GPU", "shard": "there is one manager, and no shards"}

var inLegend = regexp.MustCompile(`{{(\w+)}}`)

// expectDashboard asks every query of every panel of the engine: each gives numbers, with the labels that its legend names.
func (o *observed) expectDashboard() {
	var board dashboard
	text, err := os.ReadFile(dashboardFile)
	o.Expect(err).NotTo(HaveOccurred())
	o.Expect(json.Unmarshal(text, &board)).To(Succeed())
	var queries, legends, where []string
	for _, p := range board.Panels {
		o.Expect(p.Type == "row").To(Equal(len(p.Targets) == 0), p.Title)
		for _, target := range p.Targets {
			queries, legends = append(queries, variables.Replace(target.Expr)), append(legends, target.LegendFormat)
			where = append(where, fmt.Sprintf("%s: %s", p.Title, target.Expr))
		}
		o.Expect(p.Type == "row" || p.Description != "").To(BeTrue(), "%s has no description", p.Title)
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" {
			query, label := ofVariable(v.Definition)
			queries, legends, where = append(queries, variables.Replace(query)), append(legends, "{{"+label+"}}"), append(where, "the variable "+v.Name)
		}
	}
	o.Expect(len(queries)).To(BeNumerically(">", 60))
	for i, got := range o.ask(queries...) {
		numbers, labels := 0, map[string]bool{}
		for _, series := range got.Series {
			if series.Value != "NaN" {
				numbers++
			}
			for label := range series.Labels {
				labels[label] = true
			}
		}
		if got.Error != "" || numbers == 0 {
			o.t.Errorf("%s\n\tgives %d series, %d of them numbers %s", where[i], len(got.Series), numbers, got.Error)
			continue
		}
		for _, match := range inLegend.FindAllStringSubmatch(legends[i], -1) {
			if !labels[match[1]] && withoutValue[match[1]] == "" {
				o.t.Errorf("%s\n\tgives nothing with the label %s", where[i], match[1])
			}
		}
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// ofVariable gives the query behind label_values(SELECTOR, LABEL).
func ofVariable(definition string) (query, label string) {
	found := labelValues.FindStringSubmatch(definition)
	if found == nil {
		return definition, ""
	}
	return fmt.Sprintf("count by (%s) (%s)", found[2], found[1]), found[2]
}

var metricNames = regexp.MustCompile(`\b(?:modalrunner|controller_runtime|workqueue|rest_client)_[a-z_]+`)

// expectAlerts sees that the alerts ask for what is scraped, and that those find something here that should.
func (o *observed) expectAlerts() {
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	text, err := os.ReadFile(alertsFile)
	o.Expect(err).NotTo(HaveOccurred())
	o.Expect(yaml.Unmarshal(text, &file)).To(Succeed())
	scraped := families(o, o.last())
	var names, queries []string
	for _, rule := range file.Groups[0].Rules {
		for _, name := range metricNames.FindAllString(rule.Expr, -1) {
			o.Expect(scraped[name] != nil || scraped[strings.TrimSuffix(name, "_count")] != nil).To(BeTrue(), "%s asks for %s", rule.Alert, name)
		}
		names, queries = append(names, rule.Alert), append(queries, rule.Expr)
	}
	found := map[string]int{}
	for i, got := range o.ask(queries...) {
		o.Expect(got.Error).To(BeEmpty(), names[i])
		found[names[i]] = len(got.Series)
	}
	for name, want := range map[string]int{
		"ModalRunnerPoolNotReady": 3, "ModalRunnerPoolDegraded": 1, "ModalRunnerPoolAtLimit": 2, "ModalRunnerListStale": 1,
		"ModalRunnerImageNotReady": 3,
		"ModalRunnerAbsent":        0, "ModalRunnerNoLeader": 0, "ModalRunnerPoolUnserved": 0, "ModalRunnerReconcileErrors": 0, "ModalRunnerOrphansStay": 0,
		"ModalRunnerBudgetSpent": 0, "ModalRunnerGitHubBudgetLow": 0, "ModalRunnerSandboxMayBeLeft": 0,
	} {
		o.Expect(found).To(HaveKeyWithValue(name, want))
	}
}
