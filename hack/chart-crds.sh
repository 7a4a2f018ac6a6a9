#!/usr/bin/env bash
# Copies the generated CRDs and rules into the chart, which renders them, and the chart's alerts and dashboards to kustomize, which
# reads nothing from outside its folders.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
files=charts/modal-runner-controller/files
mkdir -p "$files/crds"
rm -f "$files"/crds/*.yaml
cp config/crd/bases/*.yaml "$files/crds/"
cp config/rbac/role.yaml "$files/role.yaml"
cp config/components/separate-webhook/role.yaml "$files/webhook-role.yaml"

prometheus=config/components/prometheus
{
	cat <<-'END'
		# Made from the chart's files/alerts.yaml by make manifests.
		apiVersion: monitoring.coreos.com/v1
		kind: PrometheusRule
		metadata:
		  name: modal-runner-controller
		  namespace: modal-runner-system
		  labels: {app.kubernetes.io/name: modal-runner-controller, app.kubernetes.io/component: metrics}
		spec:
	END
	sed -n '/^groups:/,$p' "$files/alerts.yaml" | sed 's/^/  /'
} >"$prometheus/rules.yaml"
rm -f "$prometheus"/dashboards/*.json
cp "$files"/dashboards/*.json "$prometheus/dashboards/"
