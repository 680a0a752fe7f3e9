{{- define "pillion.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The prefix of every object's name; room is left for suffixes. */}}
{{- define "pillion.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "pillion.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "pillion.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pillion.operatorName" -}}
{{ include "pillion.fullname" . }}-operator
{{- end }}

{{- define "pillion.activatorName" -}}
{{ include "pillion.fullname" . }}-activator
{{- end }}

{{/* What selects the activator's pods. */}}
{{- define "pillion.activatorSelectorLabels" -}}
app.kubernetes.io/name: {{ include "pillion.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: activator
{{- end }}

{{/* Labels of the activator's objects. */}}
{{- define "pillion.activatorLabels" -}}
{{ include "pillion.releaseLabels" . }}
app.kubernetes.io/component: activator
{{- end }}

{{/* The webhook's Service, and the Secret with its certificates. */}}
{{- define "pillion.webhookName" -}}
{{ include "pillion.operatorName" . }}-webhook
{{- end }}

{{/* The prefix of names without a namespace: several releases may stand beside each other where each has its own namespaces. */}}
{{- define "pillion.clusterName" -}}
{{ include "pillion.fullname" . }}
{{- if ne .Values.scope "cluster" }}-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{- define "pillion.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pillion.operatorName" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What selects the operator's pods. */}}
{{- define "pillion.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pillion.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of the operator's objects. */}}
{{- define "pillion.labels" -}}
{{ include "pillion.releaseLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of every object of the release. */}}
{{- define "pillion.releaseLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "pillion.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The image called by the second argument: {registry}/{name}:{tag}. */}}
{{- define "pillion.image" -}}
{{- $root := index . 0 }}{{- $name := index . 1 }}{{- $image := $root.Values.image }}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ index $image $name }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end }}

{{/* The watched namespaces as a comma-separated list; empty for the whole cluster. */}}
{{- define "pillion.watchNamespaces" -}}
{{- if eq .Values.scope "namespaced" }}
{{- default (list .Release.Namespace) .Values.namespaces | uniq | sortAlpha | join "," }}
{{- end }}
{{- end }}

{{/* The label selector of the watched namespaces as Kubernetes writes one on one line; empty where there is none. */}}
{{- define "pillion.namespaceSelector" -}}
{{- $terms := list }}
{{- range $key, $value := .Values.namespaceSelector.matchLabels }}{{ $terms = append $terms (printf "%s=%s" $key $value) }}{{ end }}
{{- range .Values.namespaceSelector.matchExpressions }}
{{- if eq .operator "Exists" }}{{ $terms = append $terms .key }}
{{- else if eq .operator "DoesNotExist" }}{{ $terms = append $terms (printf "!%s" .key) }}
{{- else }}{{ $terms = append $terms (printf "%s %s (%s)" .key (lower .operator) (join "," .values)) }}
{{- end }}
{{- end }}
{{- join "," $terms }}
{{- end }}

{{/* The same as CEL over the labels of a namespace, `variables.labels`. */}}
{{- define "pillion.namespaceSelectorCel" -}}
{{- $terms := list }}
{{- range $key, $value := .Values.namespaceSelector.matchLabels }}
{{- $terms = append $terms (printf "'%s' in variables.labels && variables.labels['%s'] == '%s'" $key $key $value) }}
{{- end }}
{{- range .Values.namespaceSelector.matchExpressions }}
{{- $has := printf "'%s' in variables.labels" .key }}
{{- $one := printf "%s && variables.labels['%s'] in ['%s']" $has .key (join "', '" .values) }}
{{- $terms = append $terms (get (dict "Exists" $has "DoesNotExist" (printf "!(%s)" $has) "In" $one "NotIn" (printf "!(%s)" $one)) .operator) }}
{{- end }}
{{- join " && " $terms }}
{{- end }}
