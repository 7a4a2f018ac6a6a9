package main

import (
	"github.com/spf13/cobra"
)

// scope is the flag --all-namespaces.
type scope struct{ all bool }

func (s *scope) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&s.all, "all-namespaces", "A", false, "Look at all namespaces.")
}

// columns of a table, the namespace first where there may be more than one.
func (s scope) columns(columns string) string {
	if s.all {
		return "NAMESPACE " + columns
	}
	return columns
}

// cells of a row of it.
func (s scope) cells(namespace string, cells []any) []any {
	if s.all {
		return append([]any{namespace}, cells...)
	}
	return cells
}
