#!/usr/bin/env bash
# Checks the Helm chart and the kustomize configuration: that they render, that wrong values are refused, and that both
# give the manager the same rights.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
kube=--kube-version=v1.37.2
helm() { (cd "$root" && "$(go -C hack/tools tool -n helm)" "$@"); }
chart=charts/modal-runner-controller
kubectl=$(hack/assets.sh)/kubectl
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

helm lint --strict "$chart"
helm template $kube mrc "$chart" -n modal-runner-system >"$out/default.yaml"
helm template $kube mrc "$chart" -n modal-runner-system --set replicas=2,webhook.secretName=hook,webhook.ingress.enabled=true,webhook.ingress.host=ci.example.com \
	--set 'watchNamespaces={ci,build}' --set metrics.enabled=false >"$out/full.yaml"
for wrong in replicas=-1 no.such=value jobTTL=soon webhook.ingress.enabled=true prices.cpuCoreSecond=0; do
	if helm template $kube mrc "$chart" --set "$wrong" >/dev/null 2>"$out/err"; then
		echo "the chart accepts the wrong value $wrong"
		exit 1
	fi
done
"$kubectl" kustomize config/default >"$out/kustomize.yaml"

# rules FILE: the rules of the ClusterRole that works on the project's kinds, in one line each.
rules() {
	go run ./hack/rules <"$1" | sort
}
diff <(rules "$out/default.yaml") <(rules "$out/kustomize.yaml") || { echo "chart and kustomize give different rights"; exit 1; }
[ -n "$(rules "$out/default.yaml")" ] || { echo "no rules found"; exit 1; }
if grep -q 'kind: ClusterRole$' <(grep -A2 'rbac' "$out/full.yaml"); then
	echo "a namespaced installation has a ClusterRole"
	exit 1
fi
echo "the chart is well"
