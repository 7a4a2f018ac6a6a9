package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc/codes"

	githubsim "github.com/modalrunner/modal-runner-controller/simulators/github"
	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
	"github.com/modalrunner/modal-runner-controller/simulators/runner"
)

const (
	foreignSandbox = "somebody-elses-0-0123abcd-0123456789ab-1"
	modalMaximum   = 24 * time.Hour
	// jobsPerSecond are queued while the storm lasts.
	jobsPerSecond = 8
)

// behaviours of runner programs, by how many of a hundred.
var behaviours = []struct {
	runner.Behaviour
	percent int
}{
	{runner.Hang, 3}, {runner.Crash, 3}, {runner.Die, 3}, {runner.Linger, 2}, {runner.Quit, 3},
}

// behaviourOf the runner in the sandbox of a name.
func (w *world) behaviourOf(name string) runner.Behaviour {
	if name == foreignSandbox {
		return runner.Hang
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faults == nil {
		return ""
	}
	dice := w.random.IntN(100)
	for _, b := range behaviours {
		if dice -= b.percent; dice < 0 {
			w.faults["runner: "+string(b.Behaviour)]++
			if b.Behaviour == runner.Die {
				w.doomed[name] = "its runner died at work"
			}
			return b.Behaviour
		}
	}
	return ""
}

// storm queues the jobs while everything fails.
func (w *world) storm(ctx context.Context, jobs int) {
	storm, end := context.WithCancel(ctx)
	var winds sync.WaitGroup
	for _, blow := range []func(context.Context){w.killManagers, w.breakGitHub, w.breakModal, w.breakSandboxes, w.expireCredentials} {
		winds.Go(func() { blow(storm) })
	}
	w.github.SetWebhookFaults(githubsim.WebhookFaults{Drop: 0.2, Duplicate: 0.1, Reorder: 0.2})
	w.queueJobs(ctx, jobs)
	pause(ctx, 5*time.Second)
	end()
	winds.Wait()
}

func (w *world) queueJobs(ctx context.Context, jobs int) {
	total := 0
	for _, d := range demands {
		total += d.weight
	}
	for i := range jobs {
		dice := w.dice(total)
		for _, d := range demands {
			if dice -= d.weight; dice >= 0 {
				continue
			}
			id := w.github.AddQueuedJob(d.repository, fmt.Sprintf("job-%d", i), d.labels, fmt.Sprintf("sleep 0.%d", 1+w.dice(9)))
			if w.dice(100) < 4 {
				go w.cancel(ctx, id, time.Duration(w.dice(3000))*time.Millisecond)
			}
			break
		}
		pause(ctx, time.Duration(w.dice(2000/jobsPerSecond))*time.Millisecond)
	}
}

func (w *world) cancel(ctx context.Context, id int64, after time.Duration) {
	pause(ctx, after)
	w.mu.Lock()
	w.cancelled[id] = true
	w.mu.Unlock()
	w.github.CancelJob(id)
}

// dice gives a number from 0 up to below n.
func (w *world) dice(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

func (w *world) count(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[kind]++
}

// killManagers every few seconds, mostly as kill -9 does, and start them again a while later.
func (w *world) killManagers(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(1500+w.dice(3000))*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		manager := w.managers[w.dice(len(w.managers))]
		if w.dice(4) == 0 {
			manager.Terminate()
			w.count("manager: stopped")
		} else {
			manager.Kill()
			w.count("manager: killed")
		}
		w.mu.Lock()
		w.kills++
		w.mu.Unlock()
		pause(ctx, time.Duration(w.dice(2500))*time.Millisecond)
		if err := manager.Restart(context.WithoutCancel(ctx)); err != nil {
			fmt.Println("chaos: restarting a manager:", err)
		}
	}
}

var (
	anyCall    = regexp.MustCompile(`.`)
	mintCall   = regexp.MustCompile(`/generate-jitconfig$`)
	runnerCall = regexp.MustCompile(`/actions/runners/\d+$`)
	listCall   = regexp.MustCompile(`/actions/runners$`)
)

// breakGitHub in one way after the other.
func (w *world) breakGitHub(ctx context.Context) {
	kinds := []githubsim.Fault{
		{Kind: "github: 502", Path: anyCall, Status: http.StatusBadGateway},
		{Kind: "github: 500 after the work", Path: anyCall, Status: http.StatusInternalServerError, AfterWork: true},
		{Kind: "github: answer lost", Path: anyCall, DropAnswer: true},
		{Kind: "github: answer to the JIT config lost", Method: http.MethodPost, Path: mintCall, DropAnswer: true},
		{Kind: "github: answer to the removal lost", Method: http.MethodDelete, Path: runnerCall, DropAnswer: true},
		{Kind: "github: removal fails", Method: http.MethodDelete, Path: runnerCall, Status: http.StatusServiceUnavailable},
		{Kind: "github: list of runners fails", Method: http.MethodGet, Path: listCall, Status: http.StatusBadGateway},
		{Kind: "github: hangs", Path: anyCall, Hang: true},
		{Kind: "github: slow", Path: anyCall, Delay: time.Second},
		{Kind: "github: 429", Path: anyCall, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}},
		{Kind: "github: secondary limit", Path: anyCall, Status: http.StatusForbidden, Header: http.Header{"Retry-After": {"2"}},
			Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`},
	}
	for ctx.Err() == nil {
		fault := kinds[w.dice(len(kinds))]
		fault.Times = 1 + w.dice(3)
		if fault.Hang {
			fault.Times = 1
		}
		w.github.Inject(fault)
		pause(ctx, time.Duration(w.dice(1200))*time.Millisecond)
	}
	w.github.ClearFaults()
	w.github.SetWebhookFaults(githubsim.WebhookFaults{})
}

// breakModal in one way after the other.
func (w *world) breakModal(ctx context.Context) {
	methods := []string{"SandboxCreate", "SandboxWait", "SandboxTerminate", "SandboxList", "SandboxTagsSet", "SandboxGetFromName", "SecretGetOrCreate", ""}
	kinds := []struct {
		name string
		modalsim.Fault
	}{
		{"modal: unavailable", modalsim.Fault{Code: codes.Unavailable, Times: 5}},
		{"modal: internal error", modalsim.Fault{Code: codes.Internal, Times: 2}},
		{"modal: exhausted", modalsim.Fault{Code: codes.ResourceExhausted, Times: 1}},
		{"modal: answer lost", modalsim.Fault{DropAnswer: true, Times: 1}},
		{"modal: all answers lost", modalsim.Fault{DropAnswer: true, Times: 4}},
		{"modal: hangs", modalsim.Fault{Hang: true, Times: 1}},
		{"modal: hangs after the work", modalsim.Fault{Hang: true, DropAnswer: true, Times: 1}},
		{"modal: slow", modalsim.Fault{Delay: time.Second, Times: 4}},
	}
	active := map[string][]*modalsim.ActiveFault{}
	for ctx.Err() == nil {
		kind := kinds[w.dice(len(kinds))]
		fault := kind.Fault
		fault.Method = methods[w.dice(len(methods))]
		active[kind.name] = append(active[kind.name], w.modal.Faults().Add(fault))
		pause(ctx, time.Duration(w.dice(1500))*time.Millisecond)
	}
	w.modal.Faults().Clear()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, faults := range active {
		for _, fault := range faults {
			w.faults[name] += fault.Hits()
		}
	}
}

// breakSandboxes that live, and some that are to come.
func (w *world) breakSandboxes(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(w.dice(1600))*time.Millisecond)
		if kind := w.dice(8); kind < 2 {
			fault := modalsim.SandboxFault{Stuck: true}
			name := "sandbox: stuck"
			if kind == 1 {
				fault, name = modalsim.SandboxFault{InitFailure: "no such file"}, "sandbox: init failure"
			}
			w.modal.Faults().AddSandbox(fault)
			w.count(name)
			continue
		}
		alive := w.modal.Alive(func(s modalsim.Sandbox) bool { return s.Name != foreignSandbox })
		if len(alive) > 0 {
			w.breakSandbox(alive[w.dice(len(alive))])
		}
	}
}

func (w *world) breakSandbox(victim modalsim.Sandbox) {
	doom := func(how string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.doomed[victim.Name] = how
	}
	ends := []struct {
		name      string
		status    pb.GenericResult_GenericStatus
		code      int32
		exception string
	}{
		{"sandbox: out of memory", pb.GenericResult_GENERIC_STATUS_FAILURE, 137, "Sandbox was killed: out of memory"},
		{"sandbox: terminated from outside", pb.GenericResult_GENERIC_STATUS_TERMINATED, 137, ""},
		{"sandbox: infrastructure failure", pb.GenericResult_GENERIC_STATUS_INTERNAL_FAILURE, 0, "worker was lost"},
		{"sandbox: timeout", pb.GenericResult_GENERIC_STATUS_TIMEOUT, 124, "Sandbox timed out"},
	}
	kind := w.dice(len(ends) + 1)
	if kind == len(ends) {
		// A ghost: GitHub forgets an idle runner that goes on listening. A busy one is not forgotten.
		for _, r := range w.github.Runners() {
			if r.Name == victim.Name && !r.Busy {
				w.github.ForgetRunner(r.ID)
				w.count("runner: forgotten by GitHub")
			}
		}
		return
	}
	doom(ends[kind].name)
	if w.modal.Finish(victim.ID, ends[kind].status, ends[kind].code, ends[kind].exception) {
		w.count(ends[kind].name)
	}
}

// expireCredentials now and then: the Secret has the new one a moment later.
func (w *world) expireCredentials(ctx context.Context) {
	names := []string{"github", "modal", "github2", "modal2"}
	for {
		pause(ctx, time.Duration(5000+w.dice(8000))*time.Millisecond)
		if ctx.Err() != nil {
			return
		}
		name := names[w.dice(len(names))]
		if err := w.rotate(context.WithoutCancel(ctx), name, false); err != nil {
			fmt.Println("chaos: rotating a credential:", err)
		}
		w.count("credential expired: " + name)
	}
}
