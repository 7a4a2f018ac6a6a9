package v1alpha1

import (
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestOutsideNameIsValidAndItsOwn(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	seen := map[string]bool{}
	for _, name := range []string{"p-0", "p-1", strings.Repeat("long.", 12) + "pool-9999"} {
		for _, uid := range []types.UID{"0f2c8a52-1b2c-4d5e-8f90-a1b2c3d4e5f6", "9e2c8a52-1b2c-4d5e-8f90-a1b2c3d4e5f6"} {
			for _, attempt := range []int32{0, 2, 3, 1234567} {
				r := &Runner{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}, Status: RunnerStatus{Attempt: attempt}}
				got := r.OutsideName()
				if !valid.MatchString(got) || seen[got] {
					t.Errorf("%s with %s in attempt %d has the name %q", name, uid, attempt, got)
				}
				seen[got] = true
			}
		}
	}
}

func TestTheFirstAttemptHasItsNameBeforeItIsStored(t *testing.T) {
	r := &Runner{ObjectMeta: metav1.ObjectMeta{Name: "p-0", UID: "0f2c8a52-1b2c"}}
	before := r.OutsideName()
	r.Status.Attempt = 1
	if after := r.OutsideName(); after != before {
		t.Errorf("%q became %q", before, after)
	}
}

func TestMatchLabels(t *testing.T) {
	for name, test := range map[string]struct {
		pool   []RunnerLabel
		job    []string
		spare  int
		ok     bool
		wishes *Wishes
	}{
		"the same":                        {[]RunnerLabel{"modal"}, []string{"modal"}, 0, true, nil},
		"another case and order":          {[]RunnerLabel{"Modal", "gpu"}, []string{"GPU", "modal"}, 0, true, nil},
		"fewer":                           {[]RunnerLabel{"modal", "gpu"}, []string{"gpu"}, 1, true, nil},
		"with what every runner carries":  {[]RunnerLabel{"modal"}, []string{"self-hosted", "Linux", "x64", "modal"}, 0, true, nil},
		"more":                            {[]RunnerLabel{"modal"}, []string{"modal", "arm64"}, 0, false, nil},
		"none":                            {[]RunnerLabel{"modal"}, nil, 0, false, nil},
		"only what every runner carries":  {[]RunnerLabel{"modal"}, []string{"self-hosted"}, 0, false, nil},
		"self-hosted, when the pool says": {[]RunnerLabel{"self-hosted"}, []string{"self-hosted"}, 0, true, nil},
		"a wish, where none is accepted":  {[]RunnerLabel{"modal"}, []string{"modal", "modal-gpu=H100"}, 0, false, nil},
		"a wish":                          {[]RunnerLabel{"modal"}, []string{"modal", "Modal-GPU=H100"}, 0, true, &Wishes{}},
		"wishes alone":                    {[]RunnerLabel{"modal"}, []string{"modal-gpu=H100", "modal-cpu=8"}, 1, true, &Wishes{}},
		"no wish that there is":           {[]RunnerLabel{"modal"}, []string{"modal", "modal-disk=1Ti"}, 0, false, &Wishes{}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := RunnerPoolSpec{Labels: test.pool, Wishes: test.wishes}
			spare, ok := spec.MatchLabels(test.job)
			if ok != test.ok || ok && spare != test.spare {
				t.Errorf("matches: %v, spare: %d", ok, spare)
			}
		})
	}
}
