package modal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// instruction is one line of a Dockerfile.
type instruction struct {
	name, rest, text string
}

var knownInstructions = []string{
	"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
	"SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}

// parseDockerfile gives the instructions, with continued lines joined, or why it is none.
func parseDockerfile(commands []string) ([]instruction, error) {
	joined := strings.ReplaceAll(strings.Join(commands, "\n"), "\\\n", " ")
	var parsed []instruction
	for _, line := range strings.Split(joined, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		name = strings.ToUpper(name)
		if !slices.Contains(knownInstructions, name) {
			return nil, fmt.Errorf("dockerfile parse error: unknown instruction: %s", name)
		}
		parsed = append(parsed, instruction{name: name, rest: strings.TrimSpace(rest), text: line})
	}
	if len(parsed) == 0 || parsed[0].name != "FROM" || parsed[0].rest == "" {
		return nil, fmt.Errorf("dockerfile parse error: the first instruction must be FROM with an image")
	}
	for _, later := range parsed[1:] {
		if later.name == "FROM" {
			return nil, fmt.Errorf("dockerfile parse error: only one FROM is supported")
		}
	}
	return parsed, nil
}

// apply an instruction to the image's contents, or tell why it fails. USER changes nothing: Modal runs all as root.
func (i instruction) apply(fs *filesystem) error {
	switch i.name {
	case "RUN":
		return i.run(fs)
	case "WORKDIR":
		fs.mention(i.rest)
		fs.workdir = i.rest
	case "ENV":
		for name, value := range parseEnv(i.rest) {
			fs.env[name] = value
		}
	case "COPY":
		if !strings.HasPrefix(i.rest, "--from=") {
			return fmt.Errorf("COPY failed: the build has no local context: %s", i.text)
		}
	}
	return nil
}

// absolutePath in a shell command: at its start, or after a space, quote, equals sign or redirection, so that the path of
// a URL is none.
var absolutePath = regexp.MustCompile(`(?:^|[\s'"=><(:])(/[A-Za-z0-9_@+-][A-Za-z0-9._@+/-]*)`)

// failingCommand is the marker of a build that fails.
var failingCommand = regexp.MustCompile(`^(?:false|exit ([1-9][0-9]*))$`)

// run a shell command: nothing is executed, but what it plainly does is taken to have happened.
func (i instruction) run(fs *filesystem) error {
	for _, part := range regexp.MustCompile(`&&|;`).Split(i.rest, -1) {
		part = strings.TrimSpace(part)
		if match := failingCommand.FindStringSubmatch(part); match != nil {
			code := match[1]
			if code == "" {
				code = "1"
			}
			return fmt.Errorf("the command '/bin/sh -c %s' returned a non-zero code: %s", i.rest, code)
		}
		for _, name := range installed(part) {
			fs.add("/usr/bin/" + name)
		}
	}
	for _, match := range absolutePath.FindAllStringSubmatch(i.rest, -1) {
		fs.mention(match[1])
	}
	return nil
}

// installed gives the packages that a package manager's command installs; a program is taken to have its package's name.
func installed(command string) []string {
	words := strings.Fields(command)
	if len(words) > 1 && words[0] == "sudo" {
		words = words[1:]
	}
	if len(words) < 2 {
		return nil
	}
	switch words[0] {
	case "apt-get", "apt", "apk", "dnf", "yum":
	default:
		return nil
	}
	at := slices.IndexFunc(words, func(word string) bool { return word == "install" || word == "add" })
	if at < 0 {
		return nil
	}
	var names []string
	for _, word := range words[at+1:] {
		if name, _, _ := strings.Cut(word, "="); !strings.HasPrefix(word, "-") {
			names = append(names, name)
		}
	}
	return names
}

var envPair = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|'[^']*'|\S*)`)

// parseEnv reads "A=b C='d e'" and the old form "A b c".
func parseEnv(text string) map[string]string {
	name, value, _ := strings.Cut(text, " ")
	if !strings.Contains(name, "=") {
		return map[string]string{name: strings.TrimSpace(value)}
	}
	env := map[string]string{}
	for _, match := range envPair.FindAllStringSubmatch(text, -1) {
		value := match[2]
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') {
			value = value[1 : len(value)-1]
		}
		env[match[1]] = value
	}
	return env
}
