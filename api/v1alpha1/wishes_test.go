package v1alpha1

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func quantity(text string) *resource.Quantity { return ptr.To(resource.MustParse(text)) }

// measuring is a pool that grants wishes.
func measuring() *RunnerPoolSpec {
	return &RunnerPoolSpec{
		Labels: []RunnerLabel{"modal"},
		Wishes: &Wishes{
			GPUs: []GPU{"T4", "h100:2"}, MaxCPU: quantity("16"), MaxMemory: quantity("64Gi"), MaxTimeout: &metav1.Duration{Duration: 8 * time.Hour},
		},
		RunnerTemplate: RunnerTemplate{Sandbox: Sandbox{
			CPU: resource.MustParse("2"), CPULimit: quantity("4"), Memory: resource.MustParse("4Gi"), Timeout: metav1.Duration{Duration: time.Hour},
		}},
	}
}

func TestASandboxIsMadeToTheMeasureOfWishes(t *testing.T) {
	spec := measuring()
	made, err := spec.Measure(spec.WishesOf([]string{"modal", "modal-gpu=H100:2", "Modal-CPU=8", "modal-memory=32Gi", "modal-timeout=2h", "linux"}))
	if err != nil {
		t.Fatal(err)
	}
	if made.GPU != "H100:2" || made.CPU.String() != "8" || made.CPULimit.String() != "8" || made.Memory.String() != "32Gi" ||
		made.MemoryLimit != nil || made.Timeout.Duration != 2*time.Hour {
		t.Errorf("made %+v", made)
	}
	if spec.Sandbox.CPULimit.String() != "4" || spec.Sandbox.GPU != "" {
		t.Errorf("the pool's own was changed: %+v", spec.Sandbox)
	}
	if plain, err := spec.Measure(nil); err != nil || plain.CPU.String() != "2" || plain.GPU != "" {
		t.Errorf("without wishes: %+v, %v", plain, err)
	}
}

func TestAWishOutOfBoundsIsRefusedWithWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		labels []string
		wishes Wishes
		says   string
	}{
		"a GPU that is not allowed": {[]string{"modal-gpu=B200"}, *measuring().Wishes, "the label modal-gpu=B200 is refused: the pool allows T4, h100:2 (spec.wishes.gpus)"},
		"too many GPUs":             {[]string{"modal-gpu=H100:3"}, *measuring().Wishes, "the pool allows T4, h100:2"},
		"no number of GPUs":         {[]string{"modal-gpu=H100:all"}, *measuring().Wishes, "the pool allows T4, h100:2"},
		"no GPU allowed":            {[]string{"modal-gpu=T4"}, Wishes{}, "the pool allows no GPU (spec.wishes.gpus)"},
		"too much CPU":              {[]string{"modal-cpu=17"}, *measuring().Wishes, "the pool allows up to 16 (spec.wishes.maxCPU)"},
		"too little CPU":            {[]string{"modal-cpu=0.01"}, *measuring().Wishes, "the least is 125m"},
		"no CPU to wish for":        {[]string{"modal-cpu=1"}, Wishes{}, "the pool sets no spec.wishes.maxCPU"},
		"no quantity":               {[]string{"modal-memory=lots"}, *measuring().Wishes, `"lots" is no quantity such as 8 or 32Gi`},
		"too much memory":           {[]string{"modal-memory=65Gi"}, *measuring().Wishes, "the pool allows up to 64Gi (spec.wishes.maxMemory)"},
		"no duration":               {[]string{"modal-timeout=2"}, *measuring().Wishes, `"2" is no duration such as 90m or 2h`},
		"too long":                  {[]string{"modal-timeout=9h"}, *measuring().Wishes, "the pool allows up to 8h0m0s (spec.wishes.maxTimeout)"},
		"too short":                 {[]string{"modal-timeout=59s"}, *measuring().Wishes, "at least 1m"},
		"no timeout to wish for":    {[]string{"modal-timeout=2h"}, Wishes{}, "the pool sets no spec.wishes.maxTimeout"},
		"two of a kind":             {[]string{"modal-cpu=1", "modal-cpu=2"}, *measuring().Wishes, "the job asks for both modal-cpu=1 and modal-cpu=2"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := &RunnerPool{Spec: *measuring()}
			pool.Spec.Wishes = &test.wishes
			job := &WorkflowJob{Spec: WorkflowJobSpec{Labels: append([]string{"modal"}, test.labels...)}, Status: WorkflowJobStatus{State: JobQueued, HeadRepository: ""}}
			refusal := pool.Refusal(job)
			if refusal == nil || refusal.Reason != ReasonWishRefused || !strings.Contains(refusal.Message, test.says) {
				t.Errorf("refused with %+v, want %q", refusal, test.says)
			}
			if pool.Wants(job) {
				t.Error("the pool wants the job")
			}
		})
	}
}

func TestALabelOfThePoolIsNoWish(t *testing.T) {
	spec := measuring()
	spec.Labels = append(spec.Labels, "modal-gpu=B200")
	if wishes := spec.WishesOf([]string{"MODAL-GPU=b200", "modal-cpu=4"}); !slices.Equal(wishes, []string{"modal-cpu=4"}) {
		t.Errorf("wishes are %v", wishes)
	}
	spec.Wishes = nil
	if wishes := spec.WishesOf([]string{"modal-cpu=4"}); wishes != nil {
		t.Errorf("without spec.wishes they are %v", wishes)
	}
}

func TestAWishThatIsNamedTwiceIsOne(t *testing.T) {
	if wishes := measuring().WishesOf([]string{"modal-cpu=4", "Modal-CPU=4"}); !slices.Equal(wishes, []string{"modal-cpu=4"}) {
		t.Errorf("wishes are %v", wishes)
	}
}

func TestARunnerMadeToMeasureCarriesItsJobsLabelsAlone(t *testing.T) {
	spec := measuring()
	for name, test := range map[string]struct{ job, labels []string }{
		"no wish":     {[]string{"modal"}, []string{"self-hosted", "linux", "x64", "modal"}},
		"with a wish": {[]string{"modal", "modal-cpu=4"}, []string{"self-hosted", "linux", "x64", "modal", "modal-cpu=4"}},
		"wish alone":  {[]string{"Linux", "modal-cpu=4"}, []string{"self-hosted", "linux", "x64", "modal-cpu=4"}},
	} {
		if labels := spec.RunnerLabelsFor(test.job); !slices.Equal(labels, test.labels) {
			t.Errorf("%s: the runner carries %v, want %v", name, labels, test.labels)
		}
	}
}

func TestJobsOfTheSameWishesShareRunners(t *testing.T) {
	spec := measuring()
	one := spec.Measured([]string{"modal", "Modal-CPU=4", "self-hosted"})
	if other := spec.Measured([]string{"modal-cpu=4", "modal"}); one != other || one == "" {
		t.Errorf("%q and %q", one, other)
	}
	if other := spec.Measured([]string{"modal-cpu=4"}); other == one {
		t.Error("a job that does not name the pool's label cannot be told from one that does")
	}
	if plain := spec.Measured([]string{"modal"}); plain != "" {
		t.Errorf("a job without wishes is %q", plain)
	}
	runner := &Runner{Spec: RunnerSpec{Wishes: []string{"modal-cpu=4"}, Labels: spec.RunnerLabelsFor([]string{"modal-cpu=4", "modal"})}}
	if runner.Measured() != one {
		t.Errorf("the runner is %q", runner.Measured())
	}
}
