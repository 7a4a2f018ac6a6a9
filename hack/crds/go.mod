// Modules with CRDs of others that the chart has objects of; hack/chart.sh reads them. No package is imported, so that `go mod
// tidy` would take them out.
module github.com/modalrunner/modal-runner-controller/hack/crds

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)
