{{- /* Generated from values.yaml and scripts/chart/later.py by `make generate`; do not edit. */}}
{{- define "pillion.laterValues" -}}
activator:
  enabled: true
  replicaCount: 2
  maxConnections: 1000
  maxConnectionsPerService: 500
  waitSeconds: 300
  connectionAgeSeconds: 300
  admissionPolicy: true
  resources:
    requests:
      cpu: 20m
      memory: 96Mi
    limits:
      memory: 384Mi
activator.enabled: true
activator.replicaCount: 2
activator.maxConnections: 1000
activator.maxConnectionsPerService: 500
activator.waitSeconds: 300
activator.connectionAgeSeconds: 300
activator.admissionPolicy: true
admissionPolicy:
  enabled: true
  actions:
  - Warn
  - Audit
admissionPolicy.enabled: true
admissionPolicy.actions:
- Warn
- Audit
certificates:
  selfSigned: false
  certManager: true
certificates.selfSigned: false
certificates.certManager: true
dashboards:
  enabled: false
  label: grafana_dashboard
  labelValue: '1'
  labels: {}
  annotations: {}
dashboards.enabled: false
dashboards.label: grafana_dashboard
dashboards.labelValue: '1'
kserve:
  enabled: false
  objects: labelled
kserve.enabled: false
kserve.objects: labelled
modelPolicy:
  pickle: perObject
  code: perObject
  trustedTypes: []
modelPolicy.pickle: perObject
modelPolicy.code: perObject
modelPolicy.trustedTypes: []
namespaceSelector:
  matchLabels: {}
  matchExpressions: []
namespaceSelector.matchExpressions: []
networkPolicy:
  enabled: false
  metricsFrom: []
  apiServer:
    from: []
    ports:
    - 443
    - 6443
  egress: true
networkPolicy.enabled: false
networkPolicy.metricsFrom: []
networkPolicy.egress: true
networkPolicy.apiServer:
  from: []
  ports:
  - 443
  - 6443
networkPolicy.apiServer.from: []
networkPolicy.apiServer.ports:
- 443
- 6443
prometheusRule.runbookUrl: docs/runbooks/{alert}.md
routes:
  ingress: true
  gateway: true
routes.ingress: true
routes.gateway: true
sidecarInjector:
  enabled: false
sidecarInjector.enabled: false
trainings:
  fromServices: false
trainings.fromServices: false
{{- end }}

{{- /* Fills in what the values of a former release lack: `helm upgrade --reuse-values` brings those alone. */}}
{{- define "pillion.values" }}
{{- range $path, $default := include "pillion.laterValues" . | fromYaml }}
{{- $keys := splitList "." $path }}
{{- $place := $.Values }}
{{- range initial $keys }}{{ if kindIs "map" $place }}{{ $place = get $place . }}{{ end }}{{ end }}
{{- $key := last $keys }}
{{- if and (kindIs "map" $place) (not (hasKey $place $key)) }}{{ $_ := set $place $key $default }}{{ end }}
{{- end }}
{{- end }}
