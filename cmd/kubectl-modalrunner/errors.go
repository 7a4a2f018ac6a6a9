package main

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// explainError says what can be done about an error.
func explainError(err error) string {
	text := err.Error()
	var status apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err):
		return text + "\ndocs/plugin.md lists the rights that each command needs"
	case apierrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == ""):
		return "the cluster does not know RunnerPools: is the controller installed? (" + text + ")"
	case fault.ClassOf(err) == fault.Unauthorized:
		return text + "\nModal refuses the credentials of the pool's Secret: they have to be replaced"
	}
	return text
}

// secretError says which right is missing where the pool's Secret may not be read.
func secretError(err error, namespace, secret string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return fmt.Errorf("you may not read Secret %[1]s/%[2]s, with whose credentials this command talks to Modal; the right that is missing: "+
		"kubectl -n %[1]s create role modal-console --verb=get --resource=secrets --resource-name=%[2]s, and a binding of it to you (%[3]w)", namespace, secret, err)
}
