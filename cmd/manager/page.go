package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/modalrunner/modal-runner-controller/internal/ui"
	"github.com/modalrunner/modal-runner-controller/internal/version"
)

// show the status page, in every replica.
func (o *options) show(ctx context.Context, mgr ctrl.Manager) error {
	if o.uiAddress == "0" {
		return nil
	}
	// In a Pod, its name.
	replica, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("setting up the status page: %w", err)
	}
	page := ui.New(ui.Options{
		Address: o.uiAddress, Reader: mgr.GetCache(), Clock: clock.RealClock{}, Elected: mgr.Elected(), Log: ctrl.Log.WithName("ui"),
		Replica: replica, Shard: o.shard, Version: version.Get().Version,
	})
	return page.SetupWithManager(ctx, mgr)
}
