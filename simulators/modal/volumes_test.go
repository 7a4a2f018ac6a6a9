package modal_test

import (
	"errors"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestVolumesAreCreatedAsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	create := func(name string, kind pb.ObjectCreationType) codes.Code {
		_, err := w.authenticated().VolumeGetOrCreate(w.ctx, pb.VolumeGetOrCreateRequest_builder{
			DeploymentName: name, ObjectCreationType: kind,
		}.Build())
		return status.Code(err)
	}
	w.Expect(create("v", pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS)).To(Equal(codes.OK))
	w.Expect(create("v", pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS)).To(Equal(codes.AlreadyExists))
	w.Expect(create("v", pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS)).To(Equal(codes.InvalidArgument))
	w.Expect(create("v", pb.ObjectCreationType_OBJECT_CREATION_TYPE_EPHEMERAL)).To(Equal(codes.InvalidArgument))
	w.Expect(create("", pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING)).To(Equal(codes.InvalidArgument))
}

func TestEphemeralVolumesLiveByTheirHeartbeat(t *testing.T) {
	t.Parallel()
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake})
	volume, err := w.client.Volumes.Ephemeral(w.ctx, nil)
	w.Expect(err).NotTo(HaveOccurred())
	defer volume.CloseEphemeral()
	beat := func() codes.Code {
		_, err := w.authenticated().VolumeHeartbeat(w.ctx, pb.VolumeHeartbeatRequest_builder{VolumeId: volume.VolumeID}.Build())
		return status.Code(err)
	}
	for range 3 {
		fake.Step(9 * time.Minute)
		w.Expect(beat()).To(Equal(codes.OK))
	}
	fake.Step(10 * time.Minute)
	w.Expect(beat()).To(Equal(codes.NotFound))
}

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

func TestWhatOneSandboxWritesIntoAVolumeTheNextOneReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{Run: modalsim.Process(asIs)})
	app := w.app("ci")
	image, err := w.build(app, base)
	w.Expect(err).NotTo(HaveOccurred())
	volume, err := w.client.Volumes.FromName(w.ctx, "cache", &sdk.VolumeFromNameParams{CreateIfMissing: true})
	w.Expect(err).NotTo(HaveOccurred())
	run := func(script string) int {
		made, err := w.client.Sandboxes.Create(w.ctx, app, &sdk.Image{ImageID: image}, &sdk.SandboxCreateParams{
			Command: []string{"sh", "-c", script}, Env: map[string]string{"CACHE": "/cache/tools", "OTHER": "/cachet"},
			Volumes: map[string]*sdk.Volume{"/cache": volume},
		})
		w.Expect(err).NotTo(HaveOccurred())
		code, err := made.Wait(w.ctx)
		w.Expect(err).NotTo(HaveOccurred())
		return code
	}
	w.Expect(run(`mkdir "$CACHE" && echo 22 >"$CACHE/node" && [ "$OTHER" = /cachet ]`)).To(BeZero())
	w.Expect(run(`[ "$(cat "$CACHE/node")" = 22 ]`)).To(BeZero())
}
