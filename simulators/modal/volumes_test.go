package modal_test

import (
	"errors"
	"testing"

	sdk "github.com/modal-labs/libmodal/modal-go"
	. "github.com/onsi/gomega"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestVolumesAndProxiesAreFoundByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	_, err := w.client.Volumes.FromName(w.ctx, "cache", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
	volume, err := w.client.Volumes.FromName(w.ctx, "cache", &sdk.VolumeFromNameParams{CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	again, err := w.client.Volumes.FromName(w.ctx, "cache", nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(again.VolumeID).To(Equal(volume.VolumeID))
	_, err = w.client.Proxies.FromName(w.ctx, "egress", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
	w.server.AddProxy("egress")
	proxy, err := w.client.Proxies.FromName(w.ctx, "egress", nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.mustCreate(w.app("ci"), func(p *sdk.SandboxCreateParams) {
		p.Proxy, p.Volumes = proxy, map[string]*sdk.Volume{"/cache": volume}
	})
	w.Expect(w.client.Volumes.Delete(w.ctx, "cache", nil)).To(Succeed())
	_, err = w.client.Volumes.FromName(w.ctx, "cache", nil)
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
}
