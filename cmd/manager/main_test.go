package main

import (
	"context"
	"flag"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// A delivery that is on its way when the manager is told to stop still finds it.
func TestTheManagerGoesOnAWhileAfterItIsToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, tell := context.WithCancel(t.Context())
		late := outlive(told, 5*time.Second)
		ready := unlessStopping(told, healthz.Ping)
		if err := ready(new(http.Request)); err != nil {
			t.Errorf("before: %v", err)
		}
		tell()
		begun := time.Now()
		if err := ready(new(http.Request)); err == nil {
			t.Error("it is ready although it was told to stop")
		}
		if late.Err() != nil {
			t.Error("it stopped at once")
		}
		<-late.Done()
		if after := time.Since(begun); after != 5*time.Second {
			t.Errorf("it stopped after %s", after)
		}
	})
}

func TestABudgetThatIsTooSmallForOneRunnerIsRefused(t *testing.T) {
	for value, fine := range map[string]bool{"0": true, "5": true, "850": true, "4": false, "1": false, "-1": false} {
		var o options
		flags := flag.NewFlagSet("manager", flag.ContinueOnError)
		o.bind(flags)
		if err := flags.Parse([]string{"--github-points-per-minute=" + value}); err != nil {
			t.Fatal(err)
		}
		if err := o.validate(); (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "--github-points-per-minute="+value) {
			t.Errorf("%s: %v", value, err)
		}
	}
}
