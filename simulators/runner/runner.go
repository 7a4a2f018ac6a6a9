// Package runner simulates the program actions/runner: it decodes its just-in-time configuration, comes online at the
// simulated GitHub, takes one job, runs its steps, reports, and ends.
package runner

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// JITVariable is the environment variable that the configuration comes in.
const JITVariable = "ACTIONS_RUNNER_INPUT_JITCONFIG"

// Behaviour is how a runner behaves; the zero value is well.
type Behaviour string

// Ways to behave badly.
const (
	// Hang never connects.
	Hang Behaviour = "hang"
	// Crash ends before it connects.
	Crash Behaviour = "crash"
	// Deaf is online and never asks for a job.
	Deaf Behaviour = "deaf"
	// Freeze comes online and is never heard of again, though it goes on.
	Freeze Behaviour = "freeze"
	// Die ends in the middle of its job.
	Die Behaviour = "die"
	// Linger stays alive after its job.
	Linger Behaviour = "linger"
	// Refused is of a version that GitHub does not accept any more.
	Refused Behaviour = "refused"
	// Quit comes online and ends without a job.
	Quit Behaviour = "quit"
)

// Config of a runner.
type Config struct {
	// Env is the environment of the sandbox.
	Env map[string]string
	// Stdout that the runner writes to.
	Stdout io.Writer
	// Behaviour of the runner.
	Behaviour Behaviour
	// Shell runs the steps in a real shell. Without it steps are only played: see play.
	Shell bool
}

const (
	heartbeatEvery = time.Second
)

// job as the runner service gives it.
type job struct {
	ID         int64             `json:"id"`
	Name       string            `json:"name"`
	Steps      []step            `json:"steps"`
	Env        map[string]string `json:"env"`
	Repository string            `json:"repository"`
	Run        int64             `json:"run"`
}

type step struct {
	Name string            `json:"name"`
	Run  string            `json:"run"`
	Env  map[string]string `json:"env"`
}

type program struct {
	Config
	server  string
	session string
}

// Run a runner until it ends, and give its exit code. When the context ends it is gone at once, without a word to GitHub.
func Run(ctx context.Context, config Config) int {
	p := &program{Config: config}
	switch config.Behaviour {
	case Hang:
		<-ctx.Done()
		return 1
	case Crash:
		p.say("An error occurred: Segmentation fault")
		return 1
	case Refused:
		p.say("An error occurred: Runner version v2.1.0 is deprecated and cannot receive messages.")
		// Source: github.com/actions/runner, Runner.cs and Constants.Runner.ReturnCode.RunnerVersionDeprecated.
		if config.Env["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"] == "1" {
			return 7
		}
		return 0
	}
	name, credential, err := p.decode(config.Env[JITVariable])
	if err != nil {
		p.say("An error occurred: %v", err)
		return 1
	}
	var connected struct{ Session string }
	code, err := p.post(ctx, "sessions", map[string]string{"Credential": credential}, &connected)
	if err != nil || code != http.StatusOK {
		p.say("Failed to create a session for %s: %d %v", name, code, err)
		// run.sh ends well for nearly every failure of the listener.
		return 0
	}
	p.session = "sessions/" + connected.Session
	p.say("\n√ Connected to GitHub\n")
	p.say("Listening for Jobs")
	return p.listen(ctx)
}

func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Stdout, format+"\n", args...)
}

// decode the JIT config: base64 of a JSON object of files, each base64 of its content.
func (p *program) decode(config string) (name, credential string, err error) {
	if config == "" {
		return "", "", errors.New("no configuration in " + JITVariable)
	}
	text, err := base64.StdEncoding.DecodeString(config)
	if err != nil {
		return "", "", fmt.Errorf("decoding the configuration: %w", err)
	}
	var files map[string][]byte
	if err := json.Unmarshal(text, &files); err != nil {
		return "", "", fmt.Errorf("decoding the configuration: %w", err)
	}
	var settings struct{ AgentName, ServerUrl string }  //nolint:revive // the runner's own spelling
	var secret struct{ Data struct{ ClientId string } } //nolint:revive // the runner's own spelling
	if err := errors.Join(json.Unmarshal(files[".runner"], &settings), json.Unmarshal(files[".credentials"], &secret)); err != nil {
		return "", "", fmt.Errorf("decoding the configuration: %w", err)
	}
	p.server = settings.ServerUrl
	return settings.AgentName, secret.Data.ClientId, nil
}

// listen for one job.
func (p *program) listen(ctx context.Context) int {
	switch p.Behaviour {
	case Quit:
		return 0
	case Freeze:
		<-ctx.Done()
		return 1
	case Deaf:
		for ctx.Err() == nil {
			if code, err := p.post(ctx, p.session+"/heartbeat", nil, nil); err == nil && code == http.StatusGone {
				return 0
			}
			pause(ctx, heartbeatEvery)
		}
		return 1
	}
	for ctx.Err() == nil {
		var taken job
		code, err := p.post(ctx, p.session+"/message", nil, &taken)
		switch {
		case err != nil:
			pause(ctx, heartbeatEvery)
		case code == http.StatusGone:
			p.say("Runner listener exit: the registration was deleted")
			return 0
		case code == http.StatusOK:
			return p.work(ctx, taken)
		}
	}
	return 1
}

// work on a job, with heartbeats that tell when it is cancelled.
func (p *program) work(ctx context.Context, taken job) int {
	p.say("Running job: %s", taken.Name)
	working, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for working.Err() == nil {
			var state struct{ Cancelled bool }
			if code, err := p.post(working, p.session+"/heartbeat", nil, &state); err == nil && code == http.StatusOK && state.Cancelled {
				stop()
			}
			pause(working, heartbeatEvery)
		}
	}()
	conclusion := "success"
	for i, s := range taken.Steps {
		if p.Behaviour == Die {
			return 1
		}
		result := "skipped"
		if conclusion == "success" {
			result = p.runStep(working, taken, s)
		}
		if result == "failure" {
			conclusion = "failure"
		}
		_, _ = p.post(ctx, p.session+"/step", map[string]any{"Number": i + 1, "Conclusion": result}, nil)
	}
	if p.Behaviour == Die || ctx.Err() != nil {
		return 1
	}
	for ctx.Err() == nil {
		// A job's result is sent until it arrives.
		if _, err := p.post(ctx, p.session+"/complete", map[string]any{"Conclusion": conclusion}, nil); err == nil {
			break
		}
		pause(ctx, heartbeatEvery)
	}
	p.say("Job %s completed with result: %s", taken.Name, conclusion)
	if p.Behaviour == Linger {
		<-ctx.Done()
	}
	return 0
}

func (p *program) post(ctx context.Context, path string, body, answer any) (int, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server+"/_runner/"+path, bytes.NewReader(text))
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if answer != nil && resp.StatusCode == http.StatusOK {
		return resp.StatusCode, json.NewDecoder(resp.Body).Decode(answer)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// client of all runners of a process, of which there may be thousands.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
