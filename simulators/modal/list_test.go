package modal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestListPagesThroughAllRunningSandboxesNewestFirst(t *testing.T) {
	t.Parallel()
	// A clock that stands still: the times of creation differ all the same.
	w := newWorld(t, modalsim.Options{Clock: clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))})
	app, other := w.app("ci"), w.app("other")
	var want []string
	for i := range 120 {
		want = append(want, w.mustCreate(app, named(fmt.Sprint("n", i))).SandboxID)
	}
	w.mustCreate(other)
	w.Expect(w.server.Finish(want[60], pb.GenericResult_GENERIC_STATUS_TERMINATED, 0, "")).To(BeTrue())
	want = slices.Delete(want, 60, 61)
	slices.Reverse(want)
	w.Expect(w.list(&sdk.SandboxListParams{AppID: app.AppID})).To(Equal(want))
	w.Expect(w.server.CallCount("SandboxList")).To(Equal(4), "three pages and the empty one")
	w.Expect(w.list(nil)).To(HaveLen(120))
}

func TestListIsStrictlyBeforeItsTimestamp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{PageSize: 2})
	app := w.app("ci")
	for range 3 {
		w.mustCreate(app, named(""))
	}
	page := func(before float64, finished bool) []*pb.SandboxInfo {
		answer, err := w.authenticated().SandboxList(w.ctx, pb.SandboxListRequest_builder{
			AppId: app.AppID, BeforeTimestamp: before, IncludeFinished: finished,
		}.Build())
		w.Expect(err).NotTo(HaveOccurred())
		return answer.GetSandboxes()
	}
	first := page(0, false)
	w.Expect(first).To(HaveLen(2))
	w.Expect(first[0].GetCreatedAt()).To(BeNumerically(">", first[1].GetCreatedAt()))
	w.Expect(first[0].GetTimeoutSecs()).To(BeEquivalentTo(3600))
	w.Expect(first[0].GetImageId()).To(HavePrefix("im-"))
	second := page(first[1].GetCreatedAt(), false)
	w.Expect(second).To(HaveLen(1))
	w.Expect(page(second[0].GetCreatedAt(), false)).To(BeEmpty())
	w.Expect(w.server.Finish(first[0].GetId(), pb.GenericResult_GENERIC_STATUS_TIMEOUT, 124, "")).To(BeTrue())
	w.Expect(page(0, true)[0].GetTaskInfo().GetResult().GetStatus()).To(Equal(pb.GenericResult_GENERIC_STATUS_TIMEOUT))
}

func TestListRefusesAnUnknownApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	_, err := w.authenticated().SandboxList(w.ctx, pb.SandboxListRequest_builder{AppId: "ap-none"}.Build())
	w.Expect(status.Code(err)).To(Equal(codes.NotFound))
}

func TestTagsAreReplacedAsAWholeAndFilterTheList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	a, b := w.mustCreate(app), w.mustCreate(app)
	w.Expect(a.GetTags(w.ctx)).To(BeEmpty())
	w.Expect(a.SetTags(w.ctx, map[string]string{"pool": "p", "runner": "1"})).To(Succeed())
	w.Expect(b.SetTags(w.ctx, map[string]string{"pool": "p", "runner": "2"})).To(Succeed())
	w.Expect(w.list(&sdk.SandboxListParams{Tags: map[string]string{"pool": "p"}})).To(Equal([]string{b.SandboxID, a.SandboxID}))
	w.Expect(w.list(&sdk.SandboxListParams{Tags: map[string]string{"pool": "p", "runner": "1"}})).To(Equal([]string{a.SandboxID}))
	w.Expect(w.list(&sdk.SandboxListParams{Tags: map[string]string{"pool": "p", "more": ""}})).To(BeEmpty())
	w.Expect(a.SetTags(w.ctx, map[string]string{"runner": "3"})).To(Succeed())
	w.Expect(a.GetTags(w.ctx)).To(Equal(map[string]string{"runner": "3"}))

	for _, wrong := range []map[string]string{{"": "x"}, {strings.Repeat("k", 129): "x"}, {"k": strings.Repeat("v", 257)}} {
		w.Expect(status.Code(a.SetTags(w.ctx, wrong))).To(Equal(codes.InvalidArgument))
	}
	w.Expect(a.GetTags(w.ctx)).To(Equal(map[string]string{"runner": "3"}))
}

func TestFromNameFindsRunningSandboxesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modalsim.Options{})
	app := w.app("ci")
	sb := w.mustCreate(app, named("one"))
	found, err := w.client.Sandboxes.FromName(w.ctx, "ci", "one", nil)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(found.SandboxID).To(Equal(sb.SandboxID))
	w.Expect(sb.Terminate(w.ctx, nil)).To(Equal(0))
	for _, where := range [][2]string{{"ci", "one"}, {"ci", "two"}, {"none", "one"}} {
		_, err = w.client.Sandboxes.FromName(w.ctx, where[0], where[1], nil)
		w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue(), "%v", where)
	}
	_, err = w.client.Sandboxes.FromID(w.ctx, sb.SandboxID)
	w.Expect(err).NotTo(HaveOccurred(), "a finished one is still known by its ID")
	_, err = w.client.Sandboxes.FromID(w.ctx, "sb-none")
	w.Expect(errors.As(err, new(sdk.NotFoundError))).To(BeTrue())
}
