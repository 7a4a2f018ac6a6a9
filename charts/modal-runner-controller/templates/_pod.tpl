{{/* What managers and separate receivers have in common. Both call these with a dict:
  root       the chart's top-level context
  component  manager or webhook
  selector   labels of these Pods
  values     of this component: replicas, resources, podLabels, podAnnotations
  account    ServiceAccount
  receives   whether webhooks are received in these Pods
  args       list of arguments of this component alone */}}

{{- define "mrc.deployment" -}}
{{- $ := .root -}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "mrc.metadata" (list $ .suffix .component .labels $.Values.deploymentAnnotations) | nindent 2 }}
spec:
  replicas: {{ .values.replicas }}
  revisionHistoryLimit: {{ $.Values.revisionHistoryLimit }}
  {{- with $.Values.updateStrategy }}
  strategy: {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    matchLabels: {{- .selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- .selector | nindent 8 }}
        {{- with mergeOverwrite dict ($.Values.commonLabels | default dict) ($.Values.podLabels | default dict) (.values.podLabels | default dict) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- $checksums := dict }}
      {{- if and $.Values.prices (eq .component "manager") }}
      {{- $_ := set $checksums "checksum/prices" (toYaml $.Values.prices | sha256sum) }}
      {{- end }}
      {{- with include "mrc.annotations" (list $ (mergeOverwrite $checksums ($.Values.podAnnotations | default dict) (.values.podAnnotations | default dict))) }}
      {{- . | nindent 6 }}
      {{- end }}
    spec:
      {{- include "mrc.podSpec" . | nindent 6 }}
{{- end }}

{{- define "mrc.podSpec" -}}
{{- $ := .root -}}
serviceAccountName: {{ .account | quote }}
automountServiceAccountToken: {{ $.Values.automountServiceAccountToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $.Values.terminationGracePeriodSeconds }}
{{- range $key := list "imagePullSecrets" "podSecurityContext" "priorityClassName" "runtimeClassName" "schedulerName" "nodeSelector" "tolerations" "affinity" "dnsPolicy" "dnsConfig" "hostAliases" "initContainers" }}
{{- with index $.Values $key }}
{{ ternary "securityContext" $key (eq $key "podSecurityContext") }}: {{- ternary (printf " %s" (toYaml .)) (toYaml . | nindent 2) (kindIs "string" .) }}
{{- end }}
{{- end }}
{{- with include "mrc.topologySpread" (list $ .selector .values.replicas) | trim }}
topologySpreadConstraints: {{- . | nindent 2 }}
{{- end }}
containers:
{{ include "mrc.container" . }}
{{- with $.Values.extraContainers }}
{{ toYaml . }}
{{- end }}
volumes:
{{ include "mrc.volumes" . }}
{{- end }}

{{- define "mrc.container" -}}
{{- $ := .root -}}
- name: manager
  image: {{ include "mrc.image" $ | quote }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  args:
  {{- toYaml .args | nindent 2 }}
  - --health-probe-bind-address=:8081
  - --webhook-bind-address={{ ternary ":8080" "0" .receives }}
  - --metrics-bind-address={{ ternary ":8443" "0" $.Values.metrics.enabled }}
  - --drain={{ $.Values.drain }}
  - --secret-ttl={{ $.Values.secretTTL }}
  - --zap-log-level={{ $.Values.log.level }}
  - --zap-encoder={{ $.Values.log.format }}
  - --zap-time-encoding={{ $.Values.log.timeEncoding }}
  {{- with $.Values.tracing }}
  {{- if .endpoint }}
  - --otlp-endpoint={{ .endpoint }}
  - --otlp-insecure={{ .insecure | default false }}
  - --trace-sample-ratio={{ .sampleRatio }}
  {{- end }}
  {{- end }}
  {{- range $.Values.watchNamespaces }}
  - --namespace={{ . }}
  {{- end }}
  {{- with concat ($.Values.extraArgs | default list) (.values.extraArgs | default list) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  env:
  {{- include "mrc.env" . | nindent 2 }}
  {{- with $.Values.extraEnvFrom }}
  envFrom: {{- toYaml . | nindent 2 }}
  {{- end }}
  ports:
  {{- if .receives }}
  - {name: webhook, containerPort: 8080, protocol: TCP}
  {{- end }}
  - {name: probes, containerPort: 8081, protocol: TCP}
  {{- if $.Values.metrics.enabled }}
  - {name: metrics, containerPort: 8443, protocol: TCP}
  {{- end }}
  {{- if and $.Values.ui.enabled $.Values.ui.service.enabled (eq .component "manager") }}
  - {name: ui, containerPort: 8082, protocol: TCP}
  {{- end }}
  {{- range $probe, $path := dict "startupProbe" "/healthz" "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
  {{- with index $.Values $probe }}
  {{ $probe }}:
    httpGet: {path: {{ $path }}, port: probes}
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .values.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $.Values.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
  {{- if .receives }}
  - {name: webhook-secret, mountPath: /etc/modal-runner-controller/webhook, readOnly: true}
  {{- end }}
  {{- if and $.Values.prices (eq .component "manager") }}
  - {name: prices, mountPath: /etc/modal-runner-controller/prices, readOnly: true}
  {{- end }}
  {{- if or $.Values.caBundle.configMapName $.Values.caBundle.secretName }}
  - {name: ca-bundle, mountPath: /etc/modal-runner-controller/ca, readOnly: true}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- with $.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "mrc.env" -}}
{{- $ := .root -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with include "mrc.goMemLimit" (list $ .values.resources) }}
- {name: GOMEMLIMIT, value: {{ . | quote }}}
{{- end }}
{{- with $.Values.proxy }}
{{- with .httpProxy }}
- {name: HTTP_PROXY, value: {{ . | quote }}}
{{- end }}
{{- with .httpsProxy }}
- {name: HTTPS_PROXY, value: {{ . | quote }}}
{{- end }}
{{- if or .httpProxy .httpsProxy }}
{{- /* The API server is asked directly: Kubernetes puts its address in here. */}}
- {name: NO_PROXY, value: {{ printf "$(KUBERNETES_SERVICE_HOST),.svc,.cluster.local,localhost,127.0.0.1%s" (ternary "" (printf ",%s" .noProxy) (empty .noProxy)) | quote }}}
{{- end }}
{{- end }}
{{- if or $.Values.caBundle.configMapName $.Values.caBundle.secretName }}
{{- /* Go reads this folder beside the image's own bundle, which is a file: SSL_CERT_FILE would replace that. */}}
- {name: SSL_CERT_DIR, value: /etc/modal-runner-controller/ca}
{{- end }}
{{- with $.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mrc.volumes" -}}
{{- $ := .root -}}
{{- if .receives }}
- name: webhook-secret
  secret: {secretName: {{ include "mrc.webhookSecret" $ | quote }}, optional: {{ empty $.Values.webhook.secretName }}}
{{- end }}
{{- if and $.Values.prices (eq .component "manager") }}
- name: prices
  configMap: {name: {{ include "mrc.name" $ }}-prices}
{{- end }}
{{- with $.Values.caBundle }}
{{- if and .configMapName .secretName }}{{ fail "caBundle.configMapName and caBundle.secretName are two places of one bundle: set one" }}{{ end }}
{{- if .configMapName }}
- name: ca-bundle
  configMap: {name: {{ .configMapName | quote }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- else if .secretName }}
- name: ca-bundle
  secret: {secretName: {{ .secretName | quote }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with $.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
