#!/usr/bin/env bash
# Checks the Helm chart and the kustomize configuration: that they render as valid objects, that wrong values are refused with a
# message that says why, and that both give the same.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
helm=$(go -C hack/tools tool -n helm)
kubeconform=$(go -C hack/tools tool -n kubeconform)
kubectl=$(hack/assets.sh)/kubectl
chart=charts/modal-runner-controller
out=$(mktemp -d)
# kustomize reads nothing from outside its root by an absolute path.
overlay=$(mktemp -d "$PWD/config/.overlay-XXXXXX")
trap 'rm -rf "$out" "$overlay"' EXIT

say() { printf '%s\n' "chart: $*" >&2; }
fail() { say "$*"; exit 1; }
render() { "$helm" template --kube-version=v1.37.2 --namespace modal-runner-system "$@"; }

say "schemas of the objects"
go -C hack/kubernetes mod download k8s.io/kubernetes
go -C hack/crds mod download sigs.k8s.io/gateway-api github.com/prometheus-operator/prometheus-operator
module() { go -C "hack/$1" list -m -f '{{.Dir}}' "$2"; }
go run ./hack/jsonschemas "$out/schemas" "$(module kubernetes k8s.io/kubernetes)/api/openapi-spec/v3" config/crd/bases \
	"$(module crds sigs.k8s.io/gateway-api)/config/crd/standard" \
	"$(module crds github.com/prometheus-operator/prometheus-operator)/example/prometheus-operator-crd"
# valid FILE: all its objects are, and have no fields that their kinds do not know.
valid() { "$kubeconform" -strict -summary -schema-location "$out/schemas/{{.ResourceKind}}_{{.Group}}_{{.ResourceAPIVersion}}.json" "$1"; }

say "values that go together"
for values in "$chart"/ci/*-values.yaml; do
	"$helm" lint --strict --quiet "$chart" -f "$values" || fail "$values: see above"
	rendered=$out/$(basename "$values" -values.yaml).yaml
	render mrc "$chart" -f "$values" >"$rendered"
	valid "$rendered" || fail "$values: see above"
done
for wrong in 's/^  replicas:/  replica:/' 's/containerPort: 8081/containerPort: http/' 's/^kind: Service$/kind: Servise/'; do
	sed "$wrong" "$out/default.yaml" >"$out/wrong.yaml"
	if valid "$out/wrong.yaml" >/dev/null; then fail "what $wrong makes of the objects is taken for valid"; fi
done
for argument in otlp-endpoint=otel-collector.monitoring:4317 otlp-insecure=true trace-sample-ratio=0.25; do
	grep -q -- "- --$argument\$" "$out/everything.yaml" || fail "the manager is not given --$argument"
done
if grep -q 'otlp' "$out/default.yaml"; then
	fail "traces are on by default"
fi
if grep -q 'alert: ModalRunnerPoolAtLimit' "$out/everything.yaml" || ! grep -q 'alert: ModalRunnerPoolNotReady' "$out/everything.yaml"; then
	fail "an alert that is disabled is there, or one that is not is missing"
fi
if grep -q 'kind: ClusterRole$' "$out/namespaced.yaml"; then
	fail "a namespaced installation has a ClusterRole"
fi

say "values that are wrong"
# refused MESSAGE ARGUMENTS...: the chart must not render, and say MESSAGE.
refused() {
	local message=$1
	shift
	if render mrc "$chart" "$@" >/dev/null 2>"$out/err"; then
		fail "the chart accepts $*"
	fi
	grep -qF -- "$message" "$out/err" || fail "$* is refused without saying '$message': $(<"$out/err")"
}
refused "minimum: got -1, want 0" --set replicas=-1
refused "additional properties 'no' not allowed" --set no.such=value
refused "additional properties 'tagg' not allowed" --set image.tagg=x
refused "'soon' does not match pattern" --set jobTTL=soon
refused "at '/prices/cpuCoreSecond': exclusiveMinimum" --set prices.cpuCoreSecond=0
refused "at '/log/format'" --set log.format=xml
refused "at '/image/digest'" --set image.digest=latest
refused "at '/webhook/url'" --set webhook.url=https://example.com/webhook
refused "missing property 'poolSelector'" --set 'shards[0].name=a'
refused "missing property 'spec'" --set 'runnerPools[0].name=a'
refused "webhook.ingress.host is needed" --set webhook.ingress.enabled=true
refused "webhook.httpRoute.parentRefs is needed" --set webhook.httpRoute.enabled=true
refused "serviceAccount.name is needed" --set serviceAccount.create=false
refused "webhook.separate.serviceAccount.name is needed" --set webhook.separate.enabled=true,webhook.separate.serviceAccount.create=false
refused "set one" --set webhook.secretName=a,webhook.secrets.b=c
refused "set one" --set caBundle.secretName=a,caBundle.configMapName=b
refused "a shard has the name webhook" --set 'webhook.separate.enabled=true,shards[0].name=webhook,shards[0].poolSelector=x'
refused "at '/podLabels'" --set 'podLabels.app\.kubernetes\.io/component=x'
refused "at '/commonLabels'" --set 'commonLabels.app\.kubernetes\.io/instance=x'
refused "two shards have the name a" --set 'shards[0].name=a,shards[0].poolSelector=x,shards[1].name=a,shards[1].poolSelector=y'
refused "two RunnerPools have the name a" --set 'runnerPools[0].name=a,runnerPools[0].spec.x=y,runnerPools[1].name=a,runnerPools[1].spec.x=y'
refused "nobody would serve it" --set 'watchNamespaces={ci},runnerPools[0].name=a,runnerPools[0].namespace=b,runnerPools[0].spec.x=y'
refused "at '/tracing/sampleRatio': maximum" --set tracing.sampleRatio=2
refused "metrics.serviceMonitor.enabled needs metrics.enabled" --set metrics.enabled=false,metrics.serviceMonitor.enabled=true
refused "which is no alert" --set 'metrics.rules.enabled=true,metrics.rules.disabled={ModalRunnerNoSuch}'
refused "additional properties 'intervall' not allowed" --set metrics.serviceMonitor.intervall=1m
refused "set the other one" --set replicas=2,podDisruptionBudget.minAvailable=1

say "the chart and kustomize against each other"
# same COMPONENT SWITCHES: config/default with a component is the chart with these values.
same() {
	printf 'resources: [../default]\ncomponents: [%s]\n' "${1:+../components/$1}" >"$overlay/kustomization.yaml"
	"$kubectl" kustomize "$overlay" >"$out/kustomize.yaml"
	render modal-runner-controller "$chart" --set "$2" >"$out/chart.yaml"
	valid "$out/kustomize.yaml" >/dev/null || fail "${1:-the default}: $(valid "$out/kustomize.yaml")"
	go run ./hack/parity "$out/chart.yaml" "$out/kustomize.yaml" || fail "${1:-the default}: see above"
}
same "" replicas=1
same ha replicas=2
same network-policy networkPolicy.enabled=true
same separate-webhook webhook.separate.enabled=true
same prometheus metrics.serviceMonitor.enabled=true,metrics.rules.enabled=true,metrics.dashboards.enabled=true
same webhook-ingress webhook.ingress.enabled=true,webhook.ingress.host=runners.example.com
same webhook-gateway 'webhook.httpRoute.enabled=true,webhook.httpRoute.parentRefs[0].name=public,webhook.httpRoute.parentRefs[0].namespace=gateways,webhook.httpRoute.hostnames={runners.example.com}'
say "well"
