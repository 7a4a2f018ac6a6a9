{{/* Name of everything that the release makes. */}}
{{- define "mrc.name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* What all Pods of the release have, and no other Pods. */}}
{{- define "mrc.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | trunc 63 | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Pods of managers, of all shards. */}}
{{- define "mrc.managerSelector" -}}
{{ include "mrc.selector" . }}
app.kubernetes.io/component: manager
{{- end }}

{{/* Pods that receive webhooks: the separate receivers, or else every manager. */}}
{{- define "mrc.webhookSelector" -}}
{{ include "mrc.selector" . }}
app.kubernetes.io/component: {{ ternary "webhook" "manager" .Values.webhook.separate.enabled }}
{{- end }}

{{- define "mrc.labels" -}}
{{ include "mrc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of an object: those of all objects, and its own. Call with (list $ map). */}}
{{- define "mrc.annotations" -}}
{{- $all := mergeOverwrite dict ((index . 0).Values.commonAnnotations | default dict) (index . 1 | default dict) -}}
{{- if $all -}}
annotations: {{- toYaml $all | nindent 2 }}
{{- end -}}
{{- end }}

{{/* metadata of an object in the release's namespace. Call with (list $ name-suffix component labels annotations). */}}
{{- define "mrc.metadata" -}}
{{- $root := index . 0 -}}
name: {{ printf "%s%s" (include "mrc.name" $root) (index . 1) | quote }}
namespace: {{ $root.Release.Namespace | quote }}
{{ include "mrc.clusterLabels" (list $root (index . 2) (index . 3)) }}
{{- with include "mrc.annotations" (list $root (index . 4)) }}
{{ . }}
{{- end }}
{{- end }}

{{/* labels of an object. Call with (list $ component labels). */}}
{{- define "mrc.clusterLabels" -}}
labels:
  {{- include "mrc.labels" (index . 0) | nindent 2 }}
  {{- with index . 1 }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with index . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "mrc.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "mrc.name" .) }}{{ else }}{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "mrc.webhookServiceAccount" -}}
{{- with .Values.webhook.separate.serviceAccount -}}
{{- if .create }}{{ .name | default (printf "%s-webhook" (include "mrc.name" $)) }}{{ else }}{{ required "webhook.separate.serviceAccount.name is needed when webhook.separate.serviceAccount.create is false" .name }}{{ end }}
{{- end -}}
{{- end }}

{{- define "mrc.image" -}}
{{- $registry := .Values.global.imageRegistry | default .Values.image.registry -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Name of the Secret with webhook secrets. */}}
{{- define "mrc.webhookSecret" -}}
{{ .Values.webhook.secretName | default (printf "%s-webhook" (include "mrc.name" .)) }}
{{- end }}

{{/* The part of the memory limit that Go's garbage collector keeps below, in bytes; nothing without a limit. Call with
(list $ resources). */}}
{{- define "mrc.goMemLimit" -}}
{{- $percent := (index . 0).Values.goMemLimitPercent -}}
{{- $given := dig "limits" "memory" "" (index . 1 | default dict) -}}
{{- /* A number out of a file is a float, which would be written as 5.36870912e+08. */ -}}
{{- $limit := ternary (printf "%.0f" $given) (toString $given) (kindIs "float64" $given) -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if and $percent (regexMatch "^[0-9]+(\\.[0-9]+)?([kMGT]|[KMGT]i)?$" $limit) -}}
{{- $unit := regexFind "[kKMGTi]+$" $limit -}}
{{- $number := trimSuffix $unit $limit | float64 -}}
{{ divf (mulf $number (get $units $unit) $percent) 100 | floor | int64 }}
{{- end -}}
{{- end }}

{{/* Zones and hosts that replicas are spread over where they can be. Call with (list $ selector replicas). */}}
{{- define "mrc.topologySpread" -}}
{{- $given := (index . 0).Values.topologySpreadConstraints -}}
{{- if kindIs "slice" $given -}}
{{- toYaml $given -}}
{{- else if gt (int (index . 2)) 1 -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ $key }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- index $ 1 | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}
{{- end }}

{{/* A PodDisruptionBudget. Call with (list $ name-suffix component selector values). */}}
{{- define "mrc.podDisruptionBudget" -}}
{{- with index . 4 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "mrc.metadata" (list (index $ 0) (index $ 1) (index $ 2) nil nil) | nindent 2 }}
spec:
  {{- $min := ternary "" .minAvailable (kindIs "invalid" .minAvailable) | toString }}
  {{- $max := ternary "" .maxUnavailable (kindIs "invalid" .maxUnavailable) | toString }}
  {{- if and $min $max }}
  {{- fail "a PodDisruptionBudget has minAvailable or maxUnavailable: set the other one to \"\"" }}
  {{- else if $min }}
  minAvailable: {{ $min }}
  {{- else }}
  maxUnavailable: {{ $max | default 1 }}
  {{- end }}
  {{- with .unhealthyPodEvictionPolicy }}
  unhealthyPodEvictionPolicy: {{ . }}
  {{- end }}
  selector:
    matchLabels: {{- index $ 3 | nindent 6 }}
{{- end }}
{{- end }}
