package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
	"github.com/modalrunner/modal-runner-controller/test/samples"
)

func TestPoolTable(t *testing.T) {
	pool := samples.Pool(func(p *v1alpha1.RunnerPool) {
		p.Status.Queued, p.Status.Running = 3, 2
		p.Status.Usage = &v1alpha1.Usage{Day: "2026-03-01", Cost: "1.5", Currency: "USD"}
	})
	for format, want := range map[output]string{
		outputTable: `
POOL      READY   REASON   QUEUED   STARTING   IDLE   RUNNING   MAX   TODAY      AGE
widgets   True    Ready    3        0          0      2         2     1.50 USD   3d
`,
		outputWide: `
POOL      READY   REASON   QUEUED   STARTING   IDLE   RUNNING   MAX   TODAY      AGE   RUNNER VERSION   MESSAGE
widgets   True    Ready    3        0          0      2         2     1.50 USD   3d    2.330.0          jobs are served
`,
	} {
		var out bytes.Buffer
		NewWithT(t).Expect(format.printTable(&out, poolTable([]view{{pool: pool}}, scope{}, samples.Now))).To(Succeed())
		NewWithT(t).Expect("\n" + out.String()).To(Equal(want))
	}
}

func TestDescribePool(t *testing.T) {
	g := NewWithT(t)
	pool := samples.Pool(func(p *v1alpha1.RunnerPool) {
		p.Status.Runners, p.Status.Running, p.Status.Conditions = 1, 1, p.Status.Conditions[:1]
	})
	runner := samples.Runner("widgets-0", v1alpha1.RunnerRunning, func(r *v1alpha1.Runner) {
		r.Status.SandboxID, r.Status.Job = "sb-1", &v1alpha1.RunnerJob{ID: 7, Repository: "octo/widgets", Name: "test"}
	})
	var out bytes.Buffer
	g.Expect(describePool(&out, view{pool: pool, runners: []v1alpha1.Runner{runner}, jobs: []v1alpha1.WorkflowJob{samples.QueuedJob(1)}}, outputTable, samples.Now)).To(Succeed())
	g.Expect("\n" + out.String()).To(Equal(`
Pool:   ci/widgets of repository octo/widgets, labels modal
Ready:  True, Ready: jobs are served
Image:  im-1, ready for 60m, runner 2.330.0
Slots:  1 of 2: 1 running, 0 idle, 0 starting
Queue:  1 job, for 59s
Today:  no cost known

CONDITION   STATUS   REASON   FOR   MESSAGE
Ready       True     Ready    60m   jobs are served

RUNNER      PHASE     AGE   JOB                     SANDBOX   ATTEMPT   PROBLEM
widgets-0   Running   60s   octo/widgets test (7)   sb-1      1         -

JOB     POOL      REPOSITORY     NAME    WAITING   REASON         WHY
job-1   widgets   octo/widgets   build   59s       PoolNotReady   GitHubReady is not known yet
`))
}

func TestEncode(t *testing.T) {
	for format, want := range map[output]string{outputJSON: `"kind": "RunnerPool"`, outputYAML: "kind: RunnerPool"} {
		var out bytes.Buffer
		NewWithT(t).Expect(format.encode(&out, listOf([]view{{pool: samples.Pool()}}, true))).To(Succeed())
		NewWithT(t).Expect(out.String()).To(And(ContainSubstring(want), ContainSubstring("widgets")))
	}
	var out bytes.Buffer
	NewWithT(t).Expect(outputYAML.encode(&out, explain(view{pool: samples.Pool(), jobs: []v1alpha1.WorkflowJob{samples.QueuedJob(1)}}, samples.Now))).To(Succeed())
	NewWithT(t).Expect(out.String()).To(ContainSubstring("reason: RunnerToBeMade"))
}

func TestRedraw(t *testing.T) {
	g := NewWithT(t)
	g.Expect(redraw("a\nbcdef\n", 3, 10, true)).To(Equal("\x1b[2J\x1b[Ha\x1b[K\r\nbcd\x1b[K\r\n\x1b[J"))
	g.Expect(redraw("1\n2\n3\n4\n", 80, 4, false)).To(Equal("\x1b[H1\x1b[K\r\n2\x1b[K\r\n... and 2 more lines\x1b[K\r\n\x1b[J"))
	g.Expect(strings.Count(redraw("1\n2\n3\n4\n", 80, 5, false), "\n")).To(Equal(4))
}

func TestExitCode(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	secrets, pools := schema.GroupResource{Resource: "secrets"}, schema.GroupResource{Group: "modalrunner.dev", Resource: "runnerpools"}
	unread := &fault.Error{Op: "reading", Message: "no", Err: apierrors.NewForbidden(secrets, "modal", errors.New("no"))}
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		code int
		says string
	}{
		"well":               {t.Context(), nil, 0, ""},
		"the command's own":  {t.Context(), exited(3), 3, ""},
		"interrupted":        {ended, context.Canceled, 130, ""},
		"forbidden":          {t.Context(), apierrors.NewForbidden(pools, "", errors.New("no")), 1, "docs/plugin.md"},
		"not installed":      {t.Context(), apierrors.NewGenericServerResponse(404, "list", pools, "", "", 0, true), 1, "is the controller installed?"},
		"not found":          {t.Context(), apierrors.NewNotFound(pools, "p"), 1, `"p" not found`},
		"Secret unread":      {t.Context(), secretError(unread, "ci", "modal"), 1, "--verb=get --resource=secrets --resource-name=modal"},
		"credential refused": {t.Context(), fmt.Errorf("x: %w", &fault.Error{Class: fault.Unauthorized}), 1, "have to be replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			streams, _, _, stderr := genericiooptions.NewTestIOStreams()
			g.Expect(exitCode(test.ctx, test.err, streams)).To(Equal(test.code))
			g.Expect(stderr.String()).To(ContainSubstring(test.says))
			g.Expect(stderr.Len() > 0).To(Equal(test.says != ""))
		})
	}
}

func TestArguments(t *testing.T) {
	for line, says := range map[string]string{
		"exec widgets-0 bash":            "write one RUNNER or JOB, then --",
		"exec widgets-0 --":              "write one RUNNER or JOB, then --",
		"exec a b -- c":                  "write one RUNNER or JOB, then --",
		"status -o xml":                  `--output is one of wide, json, yaml, not "xml"`,
		"status -w -o json":              "--watch is for people",
		"status widgets -A":              "a pool is named within a namespace",
		"status job/1":                   "is no pool",
		"drain":                          "accepts 1 arg(s)",
		"logs --tail=x widgets-0":        "invalid argument",
		"suspend a b --server=localhost": "accepts 1 arg(s)",
	} {
		t.Run(line, func(t *testing.T) {
			streams, _, _, _ := genericiooptions.NewTestIOStreams()
			root := newRoot(streams)
			root.SetArgs(strings.Fields(line))
			NewWithT(t).Expect(root.ExecuteContext(t.Context())).To(MatchError(ContainSubstring(says)))
		})
	}
}

func TestAwait(t *testing.T) {
	g := NewWithT(t)
	streams, _, out, stderr := genericiooptions.NewTestIOStreams()
	p := &plugin{IOStreams: streams}
	left := []string{"widgets-0 is Idle", ""}
	look := func(context.Context) (string, error) {
		now := left[0]
		left = left[min(1, len(left)-1):]
		return now, nil
	}
	g.Expect(p.await(t.Context(), draining{wait: true}, look)).To(Succeed())
	g.Expect(out.String()).To(Equal("done\n"))
	g.Expect(stderr.String()).To(Equal("waiting: widgets-0 is Idle\n"))
	stays := func(context.Context) (string, error) { return "widgets-0 has a job", nil }
	g.Expect(p.await(t.Context(), draining{wait: true, timeout: time.Millisecond}, stays)).To(MatchError(ContainSubstring("not done after 1ms: widgets-0 has a job")))
	g.Expect(p.await(t.Context(), draining{}, stays)).To(Succeed())
}
