package sandbox

import (
	"context"
	"fmt"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/credentials"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// SecretEnv gives the values of the variables that a sandbox takes from Secrets. Errors are of class SecretMissing,
// SecretInvalid or Transient.
func SecretEnv(ctx context.Context, secrets *credentials.Store, namespace string, spec *v1alpha1.Sandbox) (map[string]credentials.Redacted, error) {
	env := map[string]credentials.Redacted{}
	for _, v := range spec.Env {
		if v.SecretKeyRef == nil {
			continue
		}
		data, err := secrets.GetExact(ctx, namespace, v.SecretKeyRef.Name)
		if err != nil {
			return nil, err
		}
		value, ok := data[v.SecretKeyRef.Key]
		if !ok {
			return nil, &fault.Error{
				Op: fmt.Sprintf("reading Secret %s/%s", namespace, v.SecretKeyRef.Name), Class: fault.SecretInvalid,
				Message: fmt.Sprintf("it has no %s, which sandbox.env takes for %s", v.SecretKeyRef.Key, v.Name),
			}
		}
		env[v.Name] = value
	}
	return env, nil
}
