# make help tells what there is. Everything that a target needs, it builds or downloads itself, outside the work tree.
SHELL := /usr/bin/env bash -euo pipefail
TOOL  := go -C $(CURDIR)/hack/tools tool
LINT  := go -C $(CURDIR)/hack/lint tool -n golangci-lint

# Packages whose tests need no control plane.
UNIT := $(shell go list ./... 2>/dev/null | grep -v /test/)

.PHONY: help
help: ## Show this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the whole product on this machine: API server, simulators, manager, a real workflow. FLAGS=--stay keeps it up.
	go run ./cmd/sandstack $(FLAGS)

.PHONY: test
test: assets openapi ## Run all tests, against a real API server and both simulators.
	$(TOOL) -n gotestsum >/dev/null
	cd $(CURDIR) && "$$($(TOOL) -n gotestsum)" --format pkgname-and-test-fails -- -race -timeout 30m -parallel 8 ./...

.PHONY: test-ways
test-ways: assets openapi ## Run the end-to-end suite for wider scopes, with webhooks, and with webhooks of which a third is lost.
	$(TOOL) -n gotestsum >/dev/null
	for way in organization,lossy enterprise,delivered; do \
		echo "E2E_WAY=$$way"; \
		E2E_WAY=$$way "$$($(TOOL) -n gotestsum)" --format pkgname-and-test-fails -- -count=1 -timeout 30m -parallel 8 ./test/e2e; \
	done

.PHONY: fuzz
FUZZTIME ?= 5m
fuzz: openapi ## Send the webhook receiver anything for FUZZTIME=5m.
	go test ./internal/ingress -run '^$$' -fuzz FuzzWebhook -fuzztime $(FUZZTIME)

.PHONY: api-cost
api-cost: assets ## Measure what each way to learn of jobs costs in calls to GitHub (13 minutes); writes out/apicost.json.
	go run ./test/apicost $(FLAGS)

.PHONY: bench
bench: assets ## Measure speed and cost beside the floor of this machine (half an hour); writes out/bench.json. FLAGS=-compare=FILE.
	go run ./test/bench $(FLAGS)

.PHONY: bench-counts
bench-counts: assets ## Count what a job costs and hold it against test/bench/budget.yaml: the same on every machine.
	go run ./test/bench -scenarios=counts -budget=test/bench/budget.yaml -out=out/counts

.PHONY: unit
unit: openapi ## Run the tests that need no control plane.
	go test -race $(UNIT)

SEED ?= 1
JOBS ?= 300
.PHONY: chaos
chaos: assets ## Run JOBS=300 jobs while everything fails in ways that SEED=1 decides; writes out/chaos.json.
	go run ./test/chaos -seed $(SEED) -jobs $(JOBS) $(FLAGS)

.PHONY: mutants
mutants: assets openapi ## Take out the mechanism behind each invariant and see that a test notices; writes out/mutants.md.
	go run ./hack/mutants $(FLAGS)

.PHONY: modal-js
modal-js: ## Run the suite against the simulator of Modal with Modal's own JavaScript SDK (needs node 20 and npm).
	go test -race -count=1 ./test/modaljs

.PHONY: pictures
pictures: ## Make the docs' pictures of the status page anew, in a real Chromium.
	go test ./test/ui -count=1 -update

.PHONY: build
build: ## Build the manager into bin/.
	CGO_ENABLED=0 go build -trimpath -o bin/manager ./cmd/manager

.PHONY: plugin
plugin: ## Build kubectl's plugin into bin/kubectl-modalrunner (docs/plugin.md).
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/kubectl-modalrunner ./cmd/kubectl-modalrunner

.PHONY: image
image: ## Build the image for all platforms and push it to KO_DOCKER_REPO=registry/name; prints its digest.
	hack/release.sh image $(or $(TAG),dev)

.PHONY: release-check
release-check: assets ## Make what a release is made of, twice, and compare (docs/releasing.md).
	hack/release.sh check

.PHONY: assets
assets: ## Provide etcd, kube-apiserver, kube-controller-manager and kubectl (minutes the first time).
	@hack/assets.sh >/dev/null

.PHONY: openapi
openapi: ## Provide GitHub's OpenAPI description.
	@hack/openapi/fetch.sh >/dev/null

.PHONY: generate
generate: ## Generate deepcopy functions.
	$(TOOL) -n controller-gen >/dev/null
	"$$($(TOOL) -n controller-gen)" object paths=./api/...

.PHONY: manifests
manifests: ## Generate CRDs, RBAC, the chart's copies of them, and the references of API, flags and values.
	"$$($(TOOL) -n controller-gen)" crd paths=./api/... output:crd:dir=config/crd/bases
	"$$($(TOOL) -n controller-gen)" rbac:roleName=modal-runner-controller paths=./controllers/... paths=./internal/... output:rbac:dir=config/rbac
	"$$($(TOOL) -n controller-gen)" rbac:roleName=modal-runner-controller-webhook paths=./internal/ingress output:rbac:dir=config/components/separate-webhook
	hack/chart-crds.sh
	"$$($(TOOL) -n helm-docs)" --chart-search-root=charts/modal-runner-controller --template-files=../../hack/values.md.gotmpl \
		--output-file=../../docs/values.md --sort-values-order=file --log-level=warning
	go test ./cmd/manager -run TestTheDocsHaveEveryFlag -count=1 -update
	"$$($(TOOL) -n crd-ref-docs)" --source-path=api/v1alpha1 --config=hack/crd-ref-docs.yaml --renderer=markdown --output-path=docs/api.md

.PHONY: lint
lint: ## Run the linters, those of the workflows too.
	"$$($(LINT))" run ./...
	"$$($(TOOL) -n actionlint)" -shellcheck= -pyflakes=

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the manager and the plugin link (needs vuln.go.dev).
	"$$($(TOOL) -n govulncheck)" ./cmd/manager ./cmd/kubectl-modalrunner

.PHONY: chart
chart: ## Check the Helm chart and the kustomize configuration against each other.
	hack/chart.sh

.PHONY: alerts
alerts: ## Check the alert rules and run their unit tests with promtool (which takes minutes to build the first time).
	promtool="$$(go -C $(CURDIR)/hack/prometheus tool -n promtool)"; \
	"$$promtool" check rules --lint=all --lint-fatal charts/modal-runner-controller/files/alerts.yaml; \
	"$$promtool" test rules hack/prometheus/alerts_test.yaml

.PHONY: drift
drift: generate manifests ## Fail when a generated file is not as its source says.
	go mod tidy
	git diff --exit-code
	@test -z "$$(git status --porcelain)" || { git status --short; echo "generated files are not committed: run make generate manifests"; exit 1; }

.PHONY: install
install: ## Install the CRDs into the cluster of the current kubeconfig.
	kubectl apply --server-side -f config/crd/bases

.PHONY: deploy
deploy: ## Install the controller into the cluster of the current kubeconfig.
	kubectl apply --server-side -k config/default
