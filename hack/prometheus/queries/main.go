// Command queries asks Prometheus's own engine: of what was scraped, on standard input, it gives the answers to queries, on
// standard output.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Input of the program.
type Input struct {
	// Scrapes in the order of their times.
	Scrapes []Scrape
	// Queries, asked at the time of the last scrape.
	Queries []string
	// Target are the labels that a target gets.
	Target map[string]string
}

// Scrape of one target.
type Scrape struct {
	// At in milliseconds of Unix time.
	At   int64
	Text string
}

// Answer to a query.
type Answer struct {
	Error  string   `json:",omitempty"`
	Series []Series `json:",omitempty"`
}

// Series of an answer. The value is text, since JSON has no NaN.
type Series struct {
	Labels map[string]string
	Value  string
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(from io.Reader, to io.Writer) error {
	var in Input
	if err := json.NewDecoder(from).Decode(&in); err != nil {
		return fmt.Errorf("reading the input: %w", err)
	}
	folder, err := os.MkdirTemp("", "queries-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	db, err := tsdb.Open(folder, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { _ = db.Close() }()
	for _, scrape := range in.Scrapes {
		if err := store(db, scrape, in.Target); err != nil {
			return fmt.Errorf("storing a scrape: %w", err)
		}
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 10_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, LookbackDelta: 5 * time.Minute,
		Parser: parser.NewParser(parser.Options{}),
	})
	at := time.UnixMilli(in.Scrapes[len(in.Scrapes)-1].At)
	answers := make([]Answer, len(in.Queries))
	for i, query := range in.Queries {
		answers[i] = ask(engine, db, query, at)
	}
	return json.NewEncoder(to).Encode(answers)
}

// store the samples of a scrape.
func store(db *tsdb.DB, scrape Scrape, target map[string]string) error {
	textParser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(strings.NewReader(scrape.Text))
	if err != nil {
		return err
	}
	all := make([]*dto.MetricFamily, 0, len(families))
	for _, family := range families {
		all = append(all, family)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Time(scrape.At)}, all...)
	if err != nil {
		return err
	}
	appender := db.Appender(context.Background())
	for _, sample := range samples {
		builder := labels.NewBuilder(labels.EmptyLabels())
		for name, value := range target {
			builder.Set(name, value)
		}
		for name, value := range sample.Metric {
			builder.Set(string(name), string(value))
		}
		if _, err := appender.Append(0, builder.Labels(), scrape.At, float64(sample.Value)); err != nil {
			return fmt.Errorf("%s: %w", sample.Metric, err)
		}
	}
	return appender.Commit()
}

func ask(engine *promql.Engine, from storage.Queryable, text string, at time.Time) Answer {
	query, err := engine.NewInstantQuery(context.Background(), from, nil, text, at)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return Answer{Error: result.Err.Error()}
	}
	switch value := result.Value.(type) {
	case promql.Vector:
		var answer Answer
		for _, sample := range value {
			answer.Series = append(answer.Series, Series{Labels: sample.Metric.Map(), Value: fmt.Sprint(sample.F)})
		}
		return answer
	case promql.Scalar:
		return Answer{Series: []Series{{Value: fmt.Sprint(value.V)}}}
	default:
		return Answer{Error: fmt.Sprintf("it gives %T", value)}
	}
}
