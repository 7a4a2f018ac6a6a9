package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// audit is the API server's own record of every request of the manager: exact, by verb and resource, whatever the manager
// believes to have done.
type audit struct {
	path string
	read int64
	all  map[string]float64
}

// counts so far, by verb and resource, for example "patch runners/status".
func (a *audit) counts() (map[string]float64, error) {
	file, err := os.Open(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if _, err := file.Seek(a.read, io.SeekStart); err != nil {
		return nil, err
	}
	if a.all == nil {
		a.all = map[string]float64{}
	}
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			// What has no end yet is read the next time.
			break
		}
		a.read += int64(len(line))
		if err := a.add(line); err != nil {
			return nil, err
		}
	}
	copied := make(map[string]float64, len(a.all))
	for k, v := range a.all {
		copied[k] = v
	}
	return copied, nil
}

func (a *audit) add(line []byte) error {
	var event struct {
		Stage, Verb string
		ObjectRef   struct{ Resource, Subresource string }
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	if event.ObjectRef.Resource == "" || event.Verb == "watch" || event.Stage != "ResponseComplete" {
		return nil
	}
	what := event.ObjectRef.Resource
	if event.ObjectRef.Subresource != "" {
		what += "/" + event.ObjectRef.Subresource
	}
	a.all[event.Verb+" "+what]++
	return nil
}

// isWrite says whether a request, as the audit counts it, changes what is stored.
func isWrite(request string) bool {
	verb, _, _ := strings.Cut(request, " ")
	switch verb {
	case "create", "update", "patch", "delete", "deletecollection":
		return true
	}
	return false
}

// metrics of a manager, each summed over its labels, or by one label.
type metrics map[string]*dto.MetricFamily

func scrape(ctx context.Context, address string) (metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(resp.Body)
}

// by gives the values of a metric by one of its labels, those of all its other labels added up.
func (m metrics) by(name, label string) map[string]float64 {
	values := map[string]float64{}
	family := m[name]
	if family == nil {
		return values
	}
	for _, metric := range family.Metric {
		key := ""
		for _, pair := range metric.Label {
			if pair.GetName() == label {
				key = pair.GetValue()
			}
		}
		values[key] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetUntyped().GetValue()
	}
	return values
}

// of gives the sum of a metric.
func (m metrics) of(name string) float64 {
	sum := 0.0
	for _, v := range m.by(name, "") {
		sum += v
	}
	return sum
}

// clockTicks a second, of the times in /proc. Linux has this number on every machine that Kubernetes runs on.
const clockTicks = 100

// cpuSeconds that a process has used.
func cpuSeconds(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may hold spaces.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseFloat(string(fields[user]), 64)
	s, _ := strconv.ParseFloat(string(fields[system]), 64)
	return (u + s) / clockTicks
}

// memoryMiB that a process has resident now, and the most that it ever had.
func memoryMiB(pid int) (now, peak float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	return now, peak
}

// children of this process by the names of their programs: etcd and kube-apiserver are among them.
func children() map[string]int {
	found := map[string]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[end+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found[string(text[open+1:end])] = pid
		}
	}
	return found
}
