package modal_test

import (
	"errors"
	"strings"
	"testing"

	sdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestSecretsRefuseWhatNoEnvironmentCanHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	for _, wrong := range []map[string]string{{"1A": "x"}, {"": "x"}, {"A": "a\x00b"}, {"A": strings.Repeat("x", 131070)}} {
		_, err := w.client.Secrets.FromMap(w.ctx, wrong, nil)
		w.Expect(status.Code(err)).To(Equal(codes.InvalidArgument))
	}
	_, err := w.client.Secrets.FromMap(w.ctx, map[string]string{"A": strings.Repeat("x", 131069)}, nil)
	w.Expect(err).NotTo(HaveOccurred())
}

func TestDeletedSecretIsGoneButSandboxesKeepItsValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	w.server.AddSecret("s", map[string]string{"A": "1"})
	secret, err := w.client.Secrets.FromName(w.ctx, "s", nil)
	w.Expect(err).NotTo(HaveOccurred())
	use := func(p *sdk.SandboxCreateParams) { p.Secrets = []*sdk.Secret{secret} }
	app := w.app("ci")
	sb := w.mustCreate(app, use)
	w.Expect(w.client.Secrets.Delete(w.ctx, "s", nil)).To(Succeed())
	w.Expect(errors.As(w.client.Secrets.Delete(w.ctx, "s", nil), new(sdk.NotFoundError))).To(BeTrue())
	_, err = w.create(app, use)
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
	seen, _ := w.server.Sandbox(sb.SandboxID)
	w.Expect(seen.Env).To(Equal(map[string]string{"A": "1"}))
}
