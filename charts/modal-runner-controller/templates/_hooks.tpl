{{/* Labels of what a hook runs: not those of the Pods that Services and policies are for. Call with (list $ name). */}}
{{- define "mrc.hookLabels" -}}
{{- with index . 0 -}}
app.kubernetes.io/name: {{ printf "%s-%s" (.Values.nameOverride | default .Chart.Name | trunc 57) (index $ 1) }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}
{{- end }}

{{/* spec of a Pod that a hook runs, with a dict:
  root     the chart's top-level context
  name     of the container
  args     of the manager
  account  ServiceAccount whose token it has, none when left out
  mounts   volumeMounts, with volumes */}}
{{- define "mrc.hookPodSpec" -}}
{{- $ := .root -}}
restartPolicy: Never
enableServiceLinks: false
automountServiceAccountToken: {{ hasKey . "account" }}
{{- with .account }}
serviceAccountName: {{ . }}
{{- end }}
{{- range $key := list "imagePullSecrets" "podSecurityContext" "priorityClassName" "runtimeClassName" "nodeSelector" "tolerations" "affinity" "dnsPolicy" "dnsConfig" "hostAliases" }}
{{- with index $.Values $key }}
{{ ternary "securityContext" $key (eq $key "podSecurityContext") }}: {{- ternary (printf " %s" (toYaml .)) (toYaml . | nindent 2) (kindIs "string" .) }}
{{- end }}
{{- end }}
containers:
- name: {{ .name }}
  image: {{ include "mrc.image" $ | quote }}
  imagePullPolicy: {{ $.Values.image.pullPolicy }}
  args:
  {{- toYaml .args | nindent 2 }}
  {{- if .account }}
  - --release={{ $.Release.Name }}
  {{- range $.Values.watchNamespaces }}
  - --namespace={{ . }}
  {{- end }}
  env:
  - name: POD_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  {{- end }}
  {{- with $.Values.helmHooks.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $.Values.securityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .mounts }}
  volumeMounts: {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .volumes }}
volumes: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
