package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/modalrunner/modal-runner-controller/internal/metrics"
	"github.com/modalrunner/modal-runner-controller/internal/tracing"
	"github.com/modalrunner/modal-runner-controller/internal/version"
)

// flushTimeout bounds how long the manager waits at its end for the last spans to be taken.
const flushTimeout = 5 * time.Second

// observe tells which build this is, and begins to send traces if that is wanted; what is returned sends the last of them.
func (o *options) observe(ctx context.Context, namespace string) (end func(), err error) {
	build := version.Get()
	metrics.SetBuild(build.Version, build.Commit)
	o.traces.Version, o.traces.Namespace = build.Version, namespace
	stop, err := tracing.Start(ctx, o.traces)
	if err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := stop(ctx); err != nil {
			ctrl.Log.Info("could not send the last traces", "error", err.Error())
		}
	}, nil
}

// validateTraces refuses a ratio that is none, and an endpoint that the exporter would take for another without a word.
func (o *options) validateTraces() error {
	if ratio := o.traces.Ratio; !(ratio >= 0 && ratio <= 1) {
		return fmt.Errorf("--trace-sample-ratio=%v is not between 0 and 1", ratio)
	}
	if endpoint := o.traces.Endpoint; strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("--otlp-endpoint is neither host:port nor a URL that begins with http:// or https://")
		}
	}
	return nil
}
