package v1alpha1

// Scope says where at GitHub the jobs come from and the runners are registered: exactly one field is set.
type Scope struct {
	// Repository, as owner/name, whose jobs are served.
	// +optional
	// +kubebuilder:validation:MaxLength=140
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(_[A-Za-z0-9]+)?/[A-Za-z0-9._-]+$')",message="write the repository as owner/name, for example octo/widgets"
	Repository string `json:"repository,omitempty"`

	// Organization whose repositories' jobs are served.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(_[A-Za-z0-9]+)?$')",message="write the organization's login alone, for example octo"
	Organization string `json:"organization,omitempty"`

	// Enterprise whose organizations' jobs are served.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')",message="write the enterprise's slug alone, for example octo-inc"
	Enterprise string `json:"enterprise,omitempty"`
}

// GitHub says which server to talk to and as whom.
type GitHub struct {
	// URL of the server as a user opens it: https://github.com, a GitHub Enterprise Server, or a data-residency host
	// (https://SUBDOMAIN.ghe.com).
	// +optional
	// +kubebuilder:default="https://github.com"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)/?$')",message="github.url must be the server's https address without a path, for example https://github.com"
	URL string `json:"url,omitempty"`

	// SecretName of a Secret in the pool's namespace. It holds either github_token (a token that may administer the
	// runners of the scope and read its actions), or github_app_id, github_app_private_key and, where the App is
	// installed more than once, github_app_installation_id. Beside them it may hold ca.crt (certificates in PEM form that
	// the server is trusted by, beside the system's) and proxy_url (the HTTP proxy to reach the server through).
	// +optional
	// +kubebuilder:default=github
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
}

// RepositoryFilter narrows an organization or an enterprise down to some of its repositories.
type RepositoryFilter struct {
	// Include only repositories that match one of these patterns; all when empty. A pattern is a repository's name, or
	// owner/name, in which * stands for any characters but a slash and ? for one. Case does not matter.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=200
	Include []RepositoryPattern `json:"include,omitempty"`

	// Exclude repositories that match one of these patterns, whatever Include says.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=200
	Exclude []RepositoryPattern `json:"exclude,omitempty"`
}

// RepositoryPattern is a repository's name, or owner/name, with * and ? as wildcards.
//
// +kubebuilder:validation:MaxLength=140
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9._*?-]+/)?[A-Za-z0-9._*?-]+$')",message="write a pattern as name or owner/name, with * and ? as wildcards, for example octo/service-*"
type RepositoryPattern string

// Webhook says how deliveries for one pool are trusted and, when the pool manages it, made.
//
// +kubebuilder:validation:XValidation:rule="!has(self.url) || (has(self.manage) && self.manage)",message="webhook.url is for a webhook that the pool manages: set webhook.manage, or leave out webhook.url"
type Webhook struct {
	// SecretName of a Secret in the pool's namespace with the key webhook_secret and, while it is being replaced, the one
	// before as webhook_secret_previous. The pool then trusts deliveries to /webhook/NAMESPACE/POOL that are signed with
	// it, and no others.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName"`

	// Manage has the pool create its webhook on the repository or organization, repair it when it was changed, and remove
	// it when the pool is deleted. A webhook with the same address that was there before is kept right too, and left behind.
	// +optional
	Manage bool `json:"manage,omitempty"`

	// URL that GitHub delivers to when the pool manages its webhook. It must lead to /webhook/NAMESPACE/POOL of the
	// controller, which is the default where the manager knows its own address (--webhook-url).
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/[^?#]*)?$')",message="webhook.url must be an https address without a query, for example https://runners.example.com/webhook/ci/widgets"
	URL string `json:"url,omitempty"`
}
