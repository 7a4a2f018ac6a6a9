package main

import (
	"context"
	"fmt"
	"os"

	modal "github.com/modal-labs/libmodal/modal-go"
)

// addForeignSandbox makes a sandbox in the pools' own app as somebody else with the same account would.
func addForeignSandbox(ctx context.Context, url string, credential map[string]string) (string, error) {
	for name, value := range map[string]string{"MODAL_SERVER_URL": url, "MODAL_CONFIG_PATH": os.DevNull, "MODAL_IMAGE_BUILDER_VERSION": "2025.06"} {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	account, err := modal.NewClientWithOptions(&modal.ClientParams{TokenID: credential["token_id"], TokenSecret: credential["token_secret"]})
	if err != nil {
		return "", err
	}
	defer account.Close()
	app, err := account.Apps.FromName(ctx, "modal-runner-controller", &modal.AppFromNameParams{CreateIfMissing: true})
	if err != nil {
		return "", err
	}
	image, err := account.Images.FromRegistry("ubuntu:24.04", nil).Build(ctx, app)
	if err != nil {
		return "", fmt.Errorf("building an image of somebody else's: %w", err)
	}
	made, err := account.Sandboxes.Create(ctx, app, image, &modal.SandboxCreateParams{
		Name: foreignSandbox, Command: []string{"/bin/sh"}, Timeout: modalMaximum,
	})
	if err != nil {
		return "", err
	}
	return made.SandboxID, nil
}
