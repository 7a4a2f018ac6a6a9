package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
)

// Budget is what a pool may spend.
type Budget struct {
	// PerDay is how much the pool's sandboxes may cost in a day of UTC, in the currency of the controller's price table, by
	// its estimate. When it is spent no runner is made until the next day; what runs, finishes.
	// +required
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).isGreaterThan(quantity('0'))",message="budget.perDay must be more than 0: set maxConcurrency to 0 or suspend the pool to have it make no runners"
	PerDay resource.Quantity `json:"perDay"`
}

// Usage of a day, by the estimate of the controller's price table: of what sandboxes reserve, not of what they use beyond
// that. A manager that is killed forgets what it had not stored.
type Usage struct {
	// Day in UTC, as year-month-day.
	Day string `json:"day"`

	// SandboxSeconds that the sandboxes lived which have ended today.
	SandboxSeconds int64 `json:"sandboxSeconds"`

	// Cost of them, as a decimal number.
	Cost string `json:"cost"`

	// CostAlive is what the sandboxes that are alive had cost today when the status was last written.
	CostAlive string `json:"costAlive"`

	// Currency of the cost.
	Currency string `json:"currency"`

	// Repositories that caused most of it, the dearest first, at most 20.
	// +optional
	// +listType=map
	// +listMapKey=repository
	Repositories []RepositoryUsage `json:"repositories,omitempty"`
}

// RepositoryUsage is what sandboxes that ran a repository's jobs used.
type RepositoryUsage struct {
	// Repository, as owner/name; empty for sandboxes that ran no job.
	Repository string `json:"repository"`

	// SandboxSeconds that sandboxes have lived.
	SandboxSeconds int64 `json:"sandboxSeconds"`

	// Cost of them, as a decimal number.
	Cost string `json:"cost"`
}
