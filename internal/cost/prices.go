// Package cost estimates what sandboxes cost: of what they reserve, not of what they use beyond that.
package cost

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/modalrunner/modal-runner-controller/api/v1alpha1"
)

// Prices of a workspace.
type Prices struct {
	// Currency of all of them.
	Currency string `json:"currency"`
	// Source and Date say where and when they were found.
	Source string `json:"source"`
	Date   string `json:"date"`
	// CPUCoreSecond is the price of a physical core for a second, MemoryGiBSecond of a gibibyte.
	CPUCoreSecond   float64 `json:"cpuCoreSecond"`
	MemoryGiBSecond float64 `json:"memoryGiBSecond"`
	// GPUSecond is the price of a GPU for a second, by its name.
	GPUSecond map[string]float64 `json:"gpuSecond"`
	// BroadRegion and NarrowRegion are what the prices are multiplied by where regions are asked for.
	BroadRegion  float64 `json:"broadRegion"`
	NarrowRegion float64 `json:"narrowRegion"`
}

//go:embed prices.yaml
var published []byte

// Published prices, of Modal's own list on the day that it names.
func Published() *Prices {
	prices, err := parse(published)
	if err != nil {
		panic(fmt.Sprintf("the prices in this program: %v", err))
	}
	return prices
}

// Load prices from a file of the same form as the published ones.
func Load(path string) (*Prices, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own choice
	if err != nil {
		return nil, fmt.Errorf("reading the prices: %w", err)
	}
	prices, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the prices in %s: %w", path, err)
	}
	return prices, nil
}

func parse(text []byte) (*Prices, error) {
	var p Prices
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		return nil, err
	}
	if p.Currency == "" {
		return nil, errors.New("currency is missing")
	}
	for name, price := range map[string]float64{
		"cpuCoreSecond": p.CPUCoreSecond, "memoryGiBSecond": p.MemoryGiBSecond, "broadRegion": p.BroadRegion, "narrowRegion": p.NarrowRegion,
	} {
		if price <= 0 {
			return nil, fmt.Errorf("%s must be more than 0", name)
		}
	}
	for gpu, price := range p.GPUSecond {
		if price < 0 {
			return nil, fmt.Errorf("gpuSecond.%s must not be negative", gpu)
		}
	}
	return &p, nil
}

// PerSecond is what a sandbox costs in a second. A GPU without a price counts for nothing; Unpriced tells.
func (p *Prices) PerSecond(sandbox *v1alpha1.Sandbox) float64 {
	const gibibyte = 1 << 30
	price := sandbox.CPU.AsApproximateFloat64()*p.CPUCoreSecond + sandbox.Memory.AsApproximateFloat64()/gibibyte*p.MemoryGiBSecond
	if sandbox.GPU != "" {
		gpu, count := gpuOf(sandbox.GPU)
		price += float64(count) * p.GPUSecond[gpu]
	}
	return price * p.regional(sandbox.Regions)
}

// Unpriced is the GPU of a sandbox when it has no price, else empty.
func (p *Prices) Unpriced(sandbox *v1alpha1.Sandbox) string {
	if sandbox.GPU == "" {
		return ""
	}
	gpu, _ := gpuOf(sandbox.GPU)
	if _, known := p.GPUSecond[gpu]; known {
		return ""
	}
	return gpu
}

// gpuOf a name: what it is priced as, and how many. H100! is an H100 that is not upgraded, B200+ a B200 that may be.
func gpuOf(name v1alpha1.GPU) (gpu string, count int) {
	gpu, number, _ := strings.Cut(strings.ToUpper(string(name)), ":")
	count, err := strconv.Atoi(number)
	if err != nil {
		count = 1
	}
	return strings.TrimRight(gpu, "!+"), count
}

// regional factor: that of the cheapest region that it may run in.
func (p *Prices) regional(regions []v1alpha1.Region) float64 {
	factor := 0.0
	for _, region := range regions {
		this := p.BroadRegion
		if strings.Contains(string(region), "-") {
			this = p.NarrowRegion
		}
		if factor == 0 || this < factor {
			factor = this
		}
	}
	if factor == 0 {
		return 1
	}
	return factor
}

// PerHour is what a sandbox costs in an hour, as a decimal number.
func (p *Prices) PerHour(sandbox *v1alpha1.Sandbox) string {
	return Decimal(p.PerSecond(sandbox) * time.Hour.Seconds())
}

// Decimal writes an amount with four digits after the point.
func Decimal(amount float64) string { return strconv.FormatFloat(amount, 'f', 4, 64) }

// Amount reads a decimal number; 0 for what is none.
func Amount(decimal string) float64 {
	amount, err := strconv.ParseFloat(decimal, 64)
	if err != nil {
		return 0
	}
	return amount
}
