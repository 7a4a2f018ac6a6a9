package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/flags.md anew (make manifests)")

const flagsPage = "../../docs/flags.md"

// The page is made from the flags, so that every flag is in it, with the default that it has.
func TestTheDocsHaveEveryFlag(t *testing.T) {
	want := flagsAsMarkdown()
	if *update {
		if err := os.WriteFile(flagsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(flagsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the flags say: run make manifests. It should be:\n%s", flagsPage, want)
	}
}

func flagsAsMarkdown() string {
	var page strings.Builder
	page.WriteString("# Flags of the manager\n\nMade from the program by `make manifests`. The chart's [values](values.md) set most of them; `extraArgs` sets the rest.\n\n" +
		"| Flag | Default | What it does |\n| --- | --- | --- |\n")
	var o options
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	o.bind(flags)
	flags.VisitAll(func(f *flag.Flag) {
		value := "`" + f.DefValue + "`"
		if f.DefValue == "" {
			value = ""
		}
		words := strings.Join(strings.Fields(f.Usage), " ")
		fmt.Fprintf(&page, "| `--%s` | %s | %s |\n", f.Name, value, strings.ReplaceAll(words, "|", `\|`))
	})
	return page.String()
}
