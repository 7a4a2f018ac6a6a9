// Package installation keeps the mark by which this controller knows its own sandboxes.
package installation

import (
	"context"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// Name of the ConfigMap that holds the mark. No chart owns it, so that it outlives a reinstall.
	Name = "modal-runner-controller-installation"
	key  = "id"
)

// markDigits of the installation's ID are its mark: 32 random bits, short enough for the names of what is made outside.
const markDigits = 8

var validID = regexp.MustCompile(`^[0-9a-f]{8}`)

// Ensure gives the installation's mark, made on the first start and the same ever after. The API server decides which of
// two replicas that start at once makes it.
func Ensure(ctx context.Context, live client.Client, namespace string) (string, error) {
	made := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name},
		Data:       map[string]string{key: string(uuid.NewUUID())},
	}
	var kept corev1.ConfigMap
	err := live.Get(ctx, client.ObjectKeyFromObject(made), &kept)
	if apierrors.IsNotFound(err) {
		err = live.Create(ctx, made)
		if err == nil {
			return made.Data[key][:markDigits], nil
		}
		if apierrors.IsAlreadyExists(err) {
			err = live.Get(ctx, client.ObjectKeyFromObject(made), &kept)
		}
	}
	if err != nil {
		return "", fmt.Errorf("keeping the installation's mark in ConfigMap %s/%s: %w", namespace, Name, err)
	}
	if !validID.MatchString(kept.Data[key]) {
		return "", fmt.Errorf("ConfigMap %s/%s has no valid %s: delete it to have it made anew", namespace, Name, key)
	}
	return kept.Data[key][:markDigits], nil
}
