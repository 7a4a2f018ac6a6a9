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

// A mistake in what shards are told is told at the start, and not by pools that nobody serves.
func TestAShardOrALeaseThatCannotBeIsRefused(t *testing.T) {
	for _, test := range []struct{ args, says string }{
		{"--leader-elect --shard=a --pool-selector=team=a", ""},
		{"--leader-elect --shard=rest --pool-selector=!team", ""},
		{"--shard=a", "--shard=a needs --leader-elect"},
		{"--pool-selector=team=a", "--pool-selector=team=a needs a --shard"},
		{"--leader-elect --shard=A_b", "--shard=A_b is no name"},
		{"--leader-elect --shard=a --pool-selector=team==", ""},
		{"--leader-elect --leader-elect-lease-duration=13s", "--leader-elect-lease-duration=13s is too short: a leader that is cut off ends after up to 14s"},
		{"--leader-elect --leader-elect-lease-duration=14s", ""},
		{"--leader-elect --shard=a --pool-selector=in(", "--pool-selector=in( is no label selector"},
	} {
		var o options
		flags := flag.NewFlagSet("manager", flag.ContinueOnError)
		o.bind(flags)
		if err := flags.Parse(strings.Fields(test.args)); err != nil {
			t.Fatal(err)
		}
		if err := o.validate(); (err == nil) != (test.says == "") || err != nil && !strings.HasPrefix(err.Error(), test.says) {
			t.Errorf("%s: %v", test.args, err)
		}
	}
}
