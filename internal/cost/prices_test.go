package cost

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

func sandbox(gpu v1alpha1.GPU, regions ...v1alpha1.Region) *v1alpha1.Sandbox {
	return &v1alpha1.Sandbox{CPU: resource.MustParse("2"), Memory: resource.MustParse("4Gi"), GPU: gpu, Regions: regions}
}

func TestASandboxCostsWhatItReserves(t *testing.T) {
	prices := &Prices{
		CPUCoreSecond: 1, MemoryGiBSecond: 10, GPUSecond: map[string]float64{"H100": 100, "B200": 1000}, BroadRegion: 1.5, NarrowRegion: 2,
	}
	for name, test := range map[string]struct {
		sandbox *v1alpha1.Sandbox
		price   float64
	}{
		"CPU and memory":              {sandbox(""), 42},
		"a GPU":                       {sandbox("h100"), 142},
		"several":                     {sandbox("H100:4"), 442},
		"one that is not upgraded":    {sandbox("H100!:2"), 242},
		"one that may be":             {sandbox("B200+"), 1042},
		"one without a price":         {sandbox("T4"), 42},
		"a broad region":              {sandbox("", "us"), 63},
		"a narrow region":             {sandbox("", "us-west"), 84},
		"the cheapest of the regions": {sandbox("", "us-west", "eu"), 63},
	} {
		if price := prices.PerSecond(test.sandbox); math.Abs(price-test.price) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, price, test.price)
		}
	}
	if gpu := prices.Unpriced(sandbox("T4:2")); gpu != "T4" {
		t.Errorf("without a price is %q", gpu)
	}
	if gpu := prices.Unpriced(sandbox("H100!")); gpu != "" {
		t.Errorf("without a price is %q", gpu)
	}
}

func TestThePublishedPricesAreThoseOfTheChart(t *testing.T) {
	text, err := os.ReadFile("../../charts/modal-runner-controller/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct{ Prices Prices }
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	chart, err1 := yaml.Marshal(values.Prices)
	here, err2 := yaml.Marshal(Published())
	if err1 != nil || err2 != nil || string(chart) != string(here) {
		t.Errorf("the chart has\n%sand this program\n%s", chart, here)
	}
}

// Every GPU that a spec may name has a price.
func TestThePublishedPricesHaveAllGPUs(t *testing.T) {
	for _, gpu := range strings.Fields("T4 L4 A10 L40S A100 A100-40GB A100-80GB RTX-PRO-6000 H100 H100! H200 B200 B200+") {
		if unpriced := Published().Unpriced(sandbox(v1alpha1.GPU(gpu))); unpriced != "" {
			t.Errorf("%s has no price", unpriced)
		}
	}
}

func TestPricesThatCannotBeAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, says string }{
		"no YAML":        {"{", "reading the prices"},
		"a misspelt key": {string(published) + "\ngpus: {}", "unknown field"},
		"no currency":    {"cpuCoreSecond: 1", "currency is missing"},
		"no CPU":         {"currency: EUR\nmemoryGiBSecond: 1\nbroadRegion: 1\nnarrowRegion: 1", "cpuCoreSecond must be more than 0"},
		"a negative GPU": {strings.Replace(string(published), "T4: 0", "T4: -0", 1), "gpuSecond.T4 must not be negative"},
	} {
		path := filepath.Join(t.TempDir(), "prices.yaml")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load("no-such-file"); err == nil {
		t.Error("a file that is not there gave prices")
	}
}
