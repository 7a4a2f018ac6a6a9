package ingress

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
	"github.com/modalrunner/modal-runner-controller/internal/fault"
)

// What the receiver needs beside what recording does: the Secrets that pools sign with, and, where the API server insists on it,
// leave to say that a WorkflowJob keeps its pool from being gone.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups=modalrunner.dev,resources=runnerpools/finalizers,verbs=update

// Keys of a pool's webhook Secret. Both are accepted, so that one can replace the other (B63).
const (
	KeyWebhookSecret         = "webhook_secret"
	KeyPreviousWebhookSecret = "webhook_secret_previous"
)

var (
	unsigned  = answer{http.StatusUnauthorized, "unauthorized", "the delivery has no " + gh.SHA256SignatureHeader}
	badSigned = answer{http.StatusUnauthorized, "unauthorized", "the signature matches no webhook secret"}
	noSecrets = answer{http.StatusUnauthorized, "unauthorized", "no webhook secret is configured: nothing can be accepted"}
)

// signer is who may have signed a delivery: the secrets that it may be signed with, and the pools that trust them.
type signer struct {
	signature string
	secrets   [][]byte
	trust     Trust
}

// admit a delivery before anything of its body is read, so that whoever could not have signed it takes no room. It must be
// signed with SHA-256 and a secret that is known and not empty. go-github's ValidatePayload would accept SHA-1, and anything at
// all with an empty secret.
func (w *Webhook) admit(req *http.Request) (signer, answer) {
	signature := req.Header.Get(gh.SHA256SignatureHeader)
	digest, prefixed := strings.CutPrefix(signature, "sha256=")
	if !prefixed {
		return signer{}, unsigned
	}
	if mac, err := hex.DecodeString(digest); err != nil || len(mac) != sha256.Size {
		return signer{}, badSigned
	}
	secrets, trust, err := w.secretsFor(req)
	switch {
	case err != nil:
		return signer{}, answer{http.StatusServiceUnavailable, "failed", "the webhook secret cannot be read: deliver again"}
	case trust == nil:
		return signer{}, badSigned
	case len(secrets) == 0:
		return signer{}, noSecrets
	}
	return signer{signature, secrets, trust}, answer{}
}

// signed says whether the signature is that of a body.
func (s signer) signed(body []byte) bool {
	return slices.ContainsFunc(s.secrets, func(secret []byte) bool { return gh.ValidateSignature(s.signature, body, secret) == nil })
}

// secretsFor a delivery, by the path that it came to: those of the controller, trusted by every pool that has none of its
// own, or those of one pool, trusted by all pools of its namespace that share them (B61).
func (w *Webhook) secretsFor(req *http.Request) ([][]byte, Trust, error) {
	key := types.NamespacedName{Namespace: req.PathValue("namespace"), Name: req.PathValue("pool")}
	if key.Name == "" {
		secrets, err := readSecrets(w.SecretDir)
		return secrets, func(pool *v1alpha1.RunnerPool) bool { return pool.Spec.Webhook == nil }, err
	}
	var pool v1alpha1.RunnerPool
	if err := w.Recorder.Get(req.Context(), key, &pool); client.IgnoreNotFound(err) != nil {
		return nil, nil, err
	}
	if pool.Spec.Webhook == nil {
		// No such pool, or one without a secret of its own: nobody is told which.
		return nil, nil, nil
	}
	name := pool.Spec.Webhook.SecretName
	data, err := w.Secrets.Get(req.Context(), key.Namespace, name)
	if fault.Is(err, fault.SecretMissing) {
		data, err = nil, nil
	}
	var secrets [][]byte
	for _, k := range []string{KeyWebhookSecret, KeyPreviousWebhookSecret} {
		if secret := data[k].Reveal(); secret != "" {
			secrets = append(secrets, []byte(secret))
		}
	}
	return secrets, func(other *v1alpha1.RunnerPool) bool {
		return other.Namespace == key.Namespace && other.Spec.Webhook != nil && other.Spec.Webhook.SecretName == name
	}, err
}

// readSecrets of a folder, one a file.
func readSecrets(folder string) ([][]byte, error) {
	files := os.DirFS(folder)
	entries, err := fs.ReadDir(files, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var secrets [][]byte
	for _, entry := range entries {
		// A mounted Secret has its files behind links, and folders whose names begin with two dots.
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		secret, err := fs.ReadFile(files, entry.Name())
		if err != nil {
			return nil, err
		}
		if secret := strings.TrimSpace(string(secret)); secret != "" {
			secrets = append(secrets, []byte(secret))
		}
	}
	return secrets, nil
}
