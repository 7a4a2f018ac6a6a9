package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// A leader that cannot reach the API server any more must have ended before another begins. It renews its lease every
// retryPeriod; when that fails for renewDeadline it gives up, and tries once more to let the lease go before it ends: left to
// itself, that would take half of renewDeadline more, and another might lead by then. So no call about the lease may take longer than
// retryPeriod, and the lease lasts for all of it.

// validateElection says when two leaders could act at once.
func (o *options) validateElection() error {
	if until := o.renewDeadline + 2*o.retryPeriod; o.leaseDuration < until {
		return fmt.Errorf("--leader-elect-lease-duration=%s is too short: a leader that is cut off ends after up to %s (--leader-elect-renew-deadline and two times --leader-elect-retry-period), and must have ended before another begins",
			o.leaseDuration, until)
	}
	return nil
}

// electionConfig is the configuration of the client that holds the lease.
func (o *options) electionConfig(config *rest.Config) *rest.Config {
	bounded := rest.CopyConfig(config)
	bounded.Wrap(func(next http.RoundTripper) http.RoundTripper { return within{o.retryPeriod, next} })
	return bounded
}

// within bounds every call.
type within struct {
	time time.Duration
	next http.RoundTripper
}

// RoundTrip makes a call that ends in time, with its answer read or not.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), w.time)
	// The answer is read after this has returned.
	context.AfterFunc(ctx, cancel)
	return w.next.RoundTrip(req.WithContext(ctx))
}
