package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// profileSeconds is how long the CPU of the manager is profiled, from the beginning of what is measured.
const profileSeconds = 20

// profiled does what is measured, and takes profiles of the first manager and of the API server while and after it, if that was
// asked for.
func (w *world) profiled(ctx context.Context, name string, measured func() error) error {
	if !w.profile {
		return measured()
	}
	folder := filepath.Join(w.out, "profiles")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	save := func(kind, query string) error {
		return saveFrom(ctx, http.DefaultClient, filepath.Join(folder, name+"."+kind+".pprof"), "http://"+w.pprof[0]+"/debug/pprof/"+kind+query)
	}
	admin, err := rest.HTTPClientFor(w.plane.Config)
	if err != nil {
		return err
	}
	var cpu sync.WaitGroup
	var cpuErr, serverErr error
	cpu.Go(func() { cpuErr = save("profile", fmt.Sprintf("?seconds=%d", profileSeconds)) })
	cpu.Go(func() {
		serverErr = saveFrom(ctx, admin, filepath.Join(folder, name+".apiserver.pprof"), fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", strings.TrimSuffix(w.plane.Config.Host, "/"), profileSeconds))
	})
	err = measured()
	cpu.Wait()
	return errors.Join(err, cpuErr, serverErr, save("allocs", ""), save("heap", "?gc=1"), save("mutex", ""), save("block", ""))
}

func saveFrom(ctx context.Context, client *http.Client, path, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile %s: %s", url, resp.Status)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
