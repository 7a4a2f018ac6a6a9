package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/test/stack"
)

const (
	// stormStep is how long each rate is kept up.
	stormStep = 5 * time.Second
	// stormLimit is the most that 99 of 100 answers may take.
	stormLimit = 50 * time.Millisecond
)

// runStorm finds how many deliveries a second are answered in time, each of a job of its own that has to be stored first. The
// pool makes no runner for them.
func runStorm(ctx context.Context, b *bench, r *results) error {
	w, err := b.newWorld(ctx, settings{})
	if err != nil {
		return err
	}
	err = w.profiled(ctx, "storm", func() error { return w.storm(ctx, r) })
	return errors.Join(err, w.stop(ctx))
}

func (w *world) storm(ctx context.Context, r *results) error {
	if err := w.createPools(ctx, []*v1alpha1.RunnerPool{w.pool(0, 0)}); err != nil {
		return err
	}
	w.hook(w.managers[0])
	pauseFor(ctx, 2*time.Second)
	template, id, err := w.template(ctx)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	var points [][2]float64
	next := id + 1_000_000
	for rate := 25; ; rate += rate / 4 {
		count := int(stormStep.Seconds()) * rate
		events := make([]event, count)
		for i := range events {
			events[i] = signed(template, id, next)
			next++
		}
		took, err := w.send(ctx, client, events, rate)
		if err != nil {
			return err
		}
		slices.Sort(took)
		p99 := percentile(took, 99)
		fmt.Printf("  %d events/s: p50 %s, p99 %s\n", rate, percentile(took, 50).Round(time.Microsecond), p99.Round(time.Microsecond))
		points = append(points, [2]float64{float64(rate), milliseconds(p99)})
		if p99 > stormLimit {
			break
		}
		r.add("events_per_s", float64(rate))
		r.add("answer_p50_ms", milliseconds(percentile(took, 50)))
		r.add("answer_p99_ms", milliseconds(p99))
	}
	r.plot(curve{"webhook storm", "p99 of the answer", "deliveries per second", "ms", points})
	return nil
}

// template is a delivery of the simulated GitHub, and the ID of its job.
func (w *world) template(ctx context.Context) (body []byte, id int64, err error) {
	id = w.players.queue(poolName(0), 1)[0]
	err = w.until(ctx, "the first delivery", func() bool {
		for _, d := range w.github.Deliveries() {
			if d.Action == "queued" && d.Status != 0 {
				body = d.Body
			}
		}
		return body != nil
	})
	return body, id, err
}

type event struct {
	body      []byte
	signature string
}

// signed event of another job.
func signed(template []byte, id, other int64) event {
	body := bytes.ReplaceAll(template, strconv.AppendInt(nil, id, 10), strconv.AppendInt(nil, other, 10))
	mac := hmac.New(sha256.New, []byte(stack.WebhookSecret))
	_, _ = mac.Write(body)
	return event{body, "sha256=" + hex.EncodeToString(mac.Sum(nil))}
}

// send events at a rate, whether or not those before were answered, and give how long each answer took.
func (w *world) send(ctx context.Context, client *http.Client, events []event, rate int) ([]time.Duration, error) {
	took, failures := make([]time.Duration, len(events)), make([]error, len(events))
	var sent sync.WaitGroup
	begun := time.Now()
	for i, e := range events {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		pauseFor(ctx, time.Until(due))
		sent.Go(func() {
			// From when it was due: a sender that is late is no excuse.
			failures[i] = w.post(ctx, client, e)
			took[i] = time.Since(due)
		})
	}
	sent.Wait()
	return took, errors.Join(failures...)
}

func (w *world) post(ctx context.Context, client *http.Client, e event) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.managers[0].WebhookURL, bytes.NewReader(e.body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "workflow_job", "X-Hub-Signature-256": e.signature} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && string(answer) != "job created\n" {
		err = fmt.Errorf("the delivery was answered with %s: %s", resp.Status, answer)
	}
	return err
}
