package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/internal/queue"
)

// output is the flag -o.
type output string

const (
	outputTable output = ""
	outputWide  output = "wide"
	outputJSON  output = "json"
	outputYAML  output = "yaml"
)

func (o *output) addTo(cmd *cobra.Command, allowed ...output) {
	var names []string
	for _, format := range allowed {
		names = append(names, string(format))
	}
	cmd.Flags().StringVarP((*string)(o), "output", "o", "", "Output format: "+strings.Join(names, ", ")+".")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *o != outputTable && !slices.Contains(allowed, *o) {
			return fmt.Errorf("--output is one of %s, not %q", strings.Join(names, ", "), *o)
		}
		return nil
	}
}

// forPeople says that it is no format for programs.
func (o output) forPeople() bool { return o == outputTable || o == outputWide }

// encode data for programs.
func (o output) encode(out io.Writer, data any) error {
	if object, ok := data.(runtime.Object); ok {
		var printer printers.ResourcePrinter = &printers.JSONPrinter{}
		if o == outputYAML {
			printer = &printers.YAMLPrinter{}
		}
		return (&printers.OmitManagedFieldsPrinter{Delegate: printer}).PrintObj(object, out)
	}
	text, err := json.MarshalIndent(data, "", "    ")
	if err == nil && o == outputYAML {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.TrimSuffix(string(text), "\n"))
	return err
}

// table of columns; one whose name begins with a plus is for wide output alone.
func table(columns string) *metav1.Table {
	t := &metav1.Table{}
	for _, name := range strings.Split(columns, " ") {
		column := metav1.TableColumnDefinition{Name: strings.ReplaceAll(strings.TrimPrefix(name, "+"), "_", " "), Type: "string"}
		if strings.HasPrefix(name, "+") {
			column.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, column)
	}
	return t
}

// printTable for people.
func (o output) printTable(out io.Writer, t *metav1.Table) error {
	return printers.NewTablePrinter(printers.PrintOptions{Wide: o == outputWide}).PrintObj(t, out)
}

// span of time, in words.
func span(d time.Duration) string { return queue.Span(d) }

// age since a time; a dash when there was none.
func age(since *metav1.Time, now time.Time) string {
	if since == nil || since.IsZero() {
		return "-"
	}
	return span(now.Sub(since.Time))
}

// dash stands for nothing.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
