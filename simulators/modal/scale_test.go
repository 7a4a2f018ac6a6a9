package modal_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	sdk "github.com/modal-labs/libmodal/modal-go"
	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	modalsim "github.com/modalrunner/modal-runner-controller/simulators/modal"
)

func TestTenThousandSandboxesInOneProcess(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	fake := clocktesting.NewFakeClock(time.Unix(1_700_000_000, 0))
	w := newWorld(t, modalsim.Options{Clock: fake, PageSize: 500})
	app, raw := w.app("ci"), w.authenticated()
	image := must(w.image().Build(w.ctx, app)).ImageID
	before := runtime.NumGoroutine()
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for n := range numbers {
				_, err := raw.SandboxCreate(w.ctx, pb.SandboxCreateRequest_builder{AppId: app.AppID, Definition: pb.Sandbox_builder{
					EntrypointArgs: []string{"sleep", "infinity"}, ImageId: image, TimeoutSecs: 3600, Name: text(fmt.Sprint("n", n)),
				}.Build()}.Build())
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	const many = 10_000
	for n := range many {
		numbers <- n
	}
	close(numbers)
	workers.Wait()
	w.Expect(w.list(&sdk.SandboxListParams{AppID: app.AppID})).To(HaveLen(many))
	w.Expect(runtime.NumGoroutine()-before).To(BeNumerically("<", many+100), "one goroutine for each")
	fake.Step(time.Hour)
	w.Expect(w.server.Alive(nil)).To(BeEmpty())
	w.Expect(w.server.Peak("ci")).To(Equal(many))
}

func text(value string) *string { return &value }
