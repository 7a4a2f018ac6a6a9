package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/term"
)

// watchInterval is how often a watched view is looked at.
const watchInterval = 2 * time.Second

// watch shows a view again and again, over itself in a terminal, one after the other elsewhere. Where the first look
// succeeds, one that fails later is shown and does not end it.
func watch(ctx context.Context, out io.Writer, look func(io.Writer) error) error {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	fd, isTerminal := terminalOf(out)
	for begun := false; ; begun = true {
		var text bytes.Buffer
		if err := look(&text); err != nil {
			if !begun || ctx.Err() != nil {
				return err
			}
			text.Reset()
			fmt.Fprintln(&text, "error:", explainError(err))
		}
		shown := text.String() + "\n"
		if isTerminal {
			columns, rows, err := term.GetSize(fd)
			if err != nil {
				columns, rows = 80, 24
			}
			shown = redraw(text.String(), columns, rows, !begun)
		}
		if _, err := io.WriteString(out, shown); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// redraw a text over the one before: as much of it as the terminal shows, without wrapping a line, and nothing that was there
// beside it. Nothing is erased before it is written over, so that the screen does not flicker.
func redraw(text string, columns, rows int, begin bool) string {
	var b strings.Builder
	if begin {
		b.WriteString("\x1b[2J")
	}
	b.WriteString("\x1b[H")
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	hidden := len(lines) - (rows - 1)
	if hidden > 0 {
		lines = append(lines[:max(0, rows-2)], fmt.Sprintf("... and %d more lines", hidden+1))
	}
	for _, line := range lines {
		if characters := []rune(line); len(characters) > columns {
			line = string(characters[:columns])
		}
		b.WriteString(line + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}
