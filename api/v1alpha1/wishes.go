package v1alpha1

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Wishes are what jobs of a pool may ask for by their labels: modal-gpu=H100:2, modal-cpu=8, modal-memory=32Gi,
// modal-timeout=2h. A job that does gets a runner in a sandbox made to its measure, which carries the job's own labels and
// none beside them. A wish that has no limit here is refused.
type Wishes struct {
	// GPUs that a job may ask for; one with a count allows up to as many.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	GPUs []GPU `json:"gpus,omitempty"`

	// MaxCPU that a job may ask for, in physical cores.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('125m')) >= 0 && quantity(string(self)).compareTo(quantity('64')) <= 0",message="wishes.maxCPU must be between 125m and 64 physical cores"
	MaxCPU *resource.Quantity `json:"maxCPU,omitempty"`

	// MaxMemory that a job may ask for.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('128Mi')) >= 0 && quantity(string(self)).compareTo(quantity('336Gi')) <= 0",message="wishes.maxMemory must be between 128Mi and 336Gi"
	MaxMemory *resource.Quantity `json:"maxMemory,omitempty"`

	// MaxTimeout that a job may ask for.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="wishes.maxTimeout must be a duration between 1m and 24h, for example 2h"
	MaxTimeout *metav1.Duration `json:"maxTimeout,omitempty"`
}

// grants of a wish, by its label's beginning: each makes the sandbox to measure, or says why the wish is refused.
var grants = map[string]func(*Wishes, *Sandbox, string) error{
	"modal-gpu=":     (*Wishes).grantGPU,
	"modal-cpu=":     (*Wishes).grantCPU,
	"modal-memory=":  (*Wishes).grantMemory,
	"modal-timeout=": (*Wishes).grantTimeout,
}

// wish of a label: what it is about, with its equals sign, and the value that is asked for.
func wish(label string) (about, value string, is bool) {
	at := strings.IndexByte(label, '=') + 1
	about = strings.ToLower(label[:at])
	_, is = grants[about]
	return about, label[at:], is
}

// WishesOf the labels of a job: those that are wishes to this pool. None where the pool accepts none.
func (s *RunnerPoolSpec) WishesOf(job []string) []string {
	if s.Wishes == nil {
		return nil
	}
	own := RunnerLabels(s.Labels)
	var wishes []string
	for _, label := range job {
		if _, _, is := wish(label); is && !contains(own, label) && !contains(wishes, label) {
			wishes = append(wishes, label)
		}
	}
	return wishes
}

// Measure is the pool's sandbox, made to the measure of wishes. The error says which wish is refused and what to do.
func (s *RunnerPoolSpec) Measure(wishes []string) (Sandbox, error) {
	made := *s.Sandbox.DeepCopy()
	asked := map[string]string{}
	for _, label := range wishes {
		about, value, _ := wish(label)
		if before, twice := asked[about]; twice && before != value {
			return made, fmt.Errorf("the job asks for both %s%s and %s: leave one out", about, before, label)
		}
		asked[about] = value
		if s.Wishes == nil {
			return made, fmt.Errorf("the pool accepts no label %s: set spec.wishes", label)
		}
		if err := grants[about](s.Wishes, &made, value); err != nil {
			return made, fmt.Errorf("the label %s is refused: %w", label, err)
		}
	}
	return made, nil
}

func (w *Wishes) grantGPU(sandbox *Sandbox, value string) error {
	kind, count := gpuOf(value)
	for _, allowed := range w.GPUs {
		if most, upTo := gpuOf(string(allowed)); most == kind && count >= 1 && count <= upTo {
			sandbox.GPU = GPU(kind)
			if count > 1 {
				sandbox.GPU = GPU(fmt.Sprintf("%s:%d", kind, count))
			}
			return nil
		}
	}
	return fmt.Errorf("the pool allows %s (spec.wishes.gpus)", orNone(w.GPUs))
}

// gpuOf a name with or without a count; the count is 0 when it is none.
func gpuOf(name string) (kind string, count int) {
	kind, number, counted := strings.Cut(strings.ToUpper(name), ":")
	if !counted {
		return kind, 1
	}
	count, err := strconv.Atoi(number)
	if err != nil {
		return kind, 0
	}
	return kind, count
}

func orNone(gpus []GPU) string {
	if len(gpus) == 0 {
		return "no GPU"
	}
	var names []string
	for _, gpu := range gpus {
		names = append(names, string(gpu))
	}
	return strings.Join(names, ", ")
}

func (w *Wishes) grantCPU(sandbox *Sandbox, value string) error {
	asked, err := grantQuantity(value, "125m", w.MaxCPU, "maxCPU")
	if err != nil {
		return err
	}
	sandbox.CPU = asked
	sandbox.CPULimit = atLeast(sandbox.CPULimit, asked)
	return nil
}

func (w *Wishes) grantMemory(sandbox *Sandbox, value string) error {
	asked, err := grantQuantity(value, "128Mi", w.MaxMemory, "maxMemory")
	if err != nil {
		return err
	}
	sandbox.Memory = asked
	sandbox.MemoryLimit = atLeast(sandbox.MemoryLimit, asked)
	return nil
}

func grantQuantity(value, least string, most *resource.Quantity, field string) (resource.Quantity, error) {
	asked, err := resource.ParseQuantity(value)
	switch {
	case err != nil:
		return asked, fmt.Errorf("%q is no quantity such as 8 or 32Gi", value)
	case most == nil:
		return asked, fmt.Errorf("the pool sets no spec.wishes.%s", field)
	case asked.Cmp(*most) > 0:
		return asked, fmt.Errorf("the pool allows up to %s (spec.wishes.%s)", most, field)
	case asked.Cmp(resource.MustParse(least)) < 0:
		return asked, fmt.Errorf("the least is %s", least)
	}
	return asked, nil
}

// atLeast raises a limit to what is asked for; no limit stays none.
func atLeast(limit *resource.Quantity, asked resource.Quantity) *resource.Quantity {
	if limit == nil || limit.Cmp(asked) >= 0 {
		return limit
	}
	return &asked
}

func (w *Wishes) grantTimeout(sandbox *Sandbox, value string) error {
	asked, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no duration such as 90m or 2h", value)
	case w.MaxTimeout == nil:
		return fmt.Errorf("the pool sets no spec.wishes.maxTimeout")
	case asked > w.MaxTimeout.Duration:
		return fmt.Errorf("the pool allows up to %s (spec.wishes.maxTimeout)", w.MaxTimeout.Duration)
	case asked < time.Minute || asked%time.Second != 0:
		return fmt.Errorf("it must be whole seconds and at least 1m")
	}
	sandbox.Timeout = metav1.Duration{Duration: asked}
	return nil
}

// Measured names what a job's or a runner's labels ask for: jobs with the same name can be served by the same runners, and
// by no others that the pool makes. It is empty for those of the pool's own size.
func (s *RunnerPoolSpec) Measured(job []string) string {
	if len(s.WishesOf(job)) == 0 {
		return ""
	}
	return measureName(job)
}

// Measured names what the runner was made for, as for jobs.
func (r *Runner) Measured() string {
	if len(r.Spec.Wishes) == 0 {
		return ""
	}
	return measureName(r.Spec.Labels)
}

func measureName(labels []string) string {
	var own []string
	for _, label := range labels {
		if !contains(implicitLabels, label) {
			own = append(own, strings.ToLower(label))
		}
	}
	slices.Sort(own)
	return strings.Join(slices.Compact(own), ",")
}
