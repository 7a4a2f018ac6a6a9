package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// runStep gives the step's conclusion.
func (p *program) runStep(ctx context.Context, j job, s step) string {
	if s.Run == "" {
		return "success"
	}
	run := play
	if p.Shell {
		run = p.shell
	}
	if err := run(ctx, j, s); err != nil {
		p.say("Error: %s: %v", s.Name, err)
		return "failure"
	}
	return "success"
}

// play a step without a shell, so that thousands fit in one process: `sleep SECONDS` and `exit CODE` do what they say,
// all other lines succeed.
func play(ctx context.Context, _ job, s step) error {
	for _, line := range strings.Split(s.Run, "\n") {
		word, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "sleep":
			seconds, err := strconv.ParseFloat(argument, 64)
			if err != nil {
				return fmt.Errorf("sleep: %w", err)
			}
			pause(ctx, time.Duration(seconds*float64(time.Second)))
		case "exit":
			if argument != "0" {
				return fmt.Errorf("process completed with exit code %s", argument)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// shell runs a step as GitHub does: bash -e -o pipefail, in a work folder.
func (p *program) shell(ctx context.Context, j job, s step) error {
	folder, err := os.MkdirTemp("", "work-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", s.Run)
	cmd.Dir = folder
	cmd.Env = []string{
		"PATH=" + p.Env["PATH"], "HOME=" + folder, "CI=true", "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=" + j.Repository,
		"GITHUB_RUN_ID=" + strconv.FormatInt(j.Run, 10), "GITHUB_JOB=" + j.Name, "GITHUB_WORKSPACE=" + folder,
		"RUNNER_OS=Linux", "RUNNER_ARCH=X64", "RUNNER_TEMP=" + folder,
	}
	for name, value := range p.Env {
		// A step sees what the runner program sees, but for what that keeps to itself.
		if !strings.HasPrefix(name, "ACTIONS_RUNNER_INPUT_") && name != "PATH" && name != "HOME" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for name, value := range j.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	for name, value := range s.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stdout
	cmd.WaitDelay = time.Second
	return cmd.Run()
}
