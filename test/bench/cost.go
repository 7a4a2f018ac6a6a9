package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// tally is what was counted up to a time. The difference of two is what happened between them.
type tally struct {
	at time.Time
	// requests to the API server, by verb and resource.
	requests map[string]float64
	// github and modal calls, reconciles by controller.
	github, modal, reconciles map[string]float64
	// allocated bytes and objects of the managers.
	bytes, objects float64
	// cpu seconds by program.
	cpu map[string]float64
}

// managerCPU, and so on, are the programs whose time is told apart. The simulators are part of the bench's own process.
const (
	managerCPU    = "manager"
	simulatorsCPU = "simulators"
)

func (w *world) tally(ctx context.Context) (tally, error) {
	t := tally{at: time.Now(), github: map[string]float64{}, modal: map[string]float64{}, reconciles: map[string]float64{}, cpu: map[string]float64{}}
	var err error
	if t.requests, err = w.audit.counts(); err != nil {
		return t, err
	}
	for request, n := range w.github.Requests() {
		t.github[request] = float64(n)
	}
	for method, codes := range w.modal.Calls() {
		for _, n := range codes {
			t.modal[method] += float64(n)
		}
	}
	for _, manager := range w.managers {
		if manager.Ended() {
			continue
		}
		m, err := scrape(ctx, manager.MetricsAddress())
		if err != nil {
			return t, err
		}
		for controller, n := range m.by("controller_runtime_reconcile_total", "controller") {
			t.reconciles[controller] += n
		}
		t.bytes += m.of("go_memstats_alloc_bytes_total")
		t.objects += m.of("go_memstats_mallocs_total")
		t.cpu[managerCPU] += cpuSeconds(manager.PID())
	}
	for name, pid := range children() {
		if name == "etcd" || name == "kube-apiserver" {
			t.cpu[name] = cpuSeconds(pid)
		}
	}
	t.cpu[simulatorsCPU] = cpuSeconds(os.Getpid())
	return t, nil
}

func (t tally) minus(before tally) tally {
	difference := func(a, b map[string]float64) map[string]float64 {
		d := map[string]float64{}
		for k, v := range a {
			if v != b[k] {
				d[k] = v - b[k]
			}
		}
		return d
	}
	return tally{
		at: t.at, requests: difference(t.requests, before.requests), github: difference(t.github, before.github),
		modal: difference(t.modal, before.modal), reconciles: difference(t.reconciles, before.reconciles), cpu: difference(t.cpu, before.cpu),
		bytes: t.bytes - before.bytes, objects: t.objects - before.objects,
	}
}

// isLease says whether a request renews a lease of leader election, which goes on whatever happens.
func isLease(request string) bool { return strings.HasSuffix(request, " leases") }

func (t tally) sum(of map[string]float64, which func(string) bool) float64 {
	sum := 0.0
	for k, v := range of {
		if which(k) {
			sum += v
		}
	}
	return sum
}

func (t tally) writes() float64 {
	return t.sum(t.requests, func(r string) bool { return isWrite(r) && !isLease(r) })
}

func (t tally) reads() float64 {
	return t.sum(t.requests, func(r string) bool { return !isWrite(r) && !isLease(r) })
}

// ofJobs are the calls that are made for each job. What is left are lists and checks that all share.
var ofJobs = struct{ github, modal []string }{
	github: []string{"generate-jitconfig", "DELETE ", "/actions/jobs/", "/actions/runs/{run} "},
	modal:  []string{"SecretGetOrCreate", "SandboxCreate", "SandboxTagsSet", "SandboxWait", "SandboxTerminate", "SandboxGetFromName", "SandboxGetLogs"},
}

func isOneOf(parts []string) func(string) bool {
	return func(call string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(call, part) })
	}
}

// perJob figures of what the jobs have cost.
func (t tally) perJob(jobs int) map[string]float64 {
	n := float64(jobs)
	github, modal := isOneOf(ofJobs.github), isOneOf(ofJobs.modal)
	not := func(which func(string) bool) func(string) bool { return func(s string) bool { return !which(s) } }
	every := func(string) bool { return true }
	figures := map[string]float64{
		"api_writes_per_job":    t.writes() / n,
		"api_reads_per_job":     t.reads() / n,
		"github_calls_per_job":  t.sum(t.github, github) / n,
		"github_lists":          t.sum(t.github, not(github)),
		"modal_calls_per_job":   t.sum(t.modal, modal) / n,
		"modal_lists":           t.sum(t.modal, not(modal)),
		"reconciles_per_job":    t.sum(t.reconciles, every) / n,
		"allocated_KiB_per_job": t.bytes / n / 1024,
		"allocations_per_job":   t.objects / n,
	}
	for name, seconds := range t.cpu {
		figures["cpu_"+name+"_ms_per_job"] = seconds * 1000 / n
	}
	for _, of := range []struct {
		prefix string
		counts map[string]float64
	}{{"api: ", t.requests}, {"reconciles: ", t.reconciles}, {"github: ", t.github}, {"modal: ", t.modal}} {
		for _, name := range slices.Sorted(maps.Keys(of.counts)) {
			figures[of.prefix+name+" per_job"] = of.counts[name] / n
		}
	}
	return figures
}
