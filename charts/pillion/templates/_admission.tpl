{{- /* Generated from scripts/chart/admission.py by `make generate`; do not edit. */}}
{{- define "pillion.admission.inferenceservices" -}}
matchConstraints:
  resourceRules:
  - apiGroups:
    - serving.pillion.dev
    apiVersions:
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - inferenceservices
matchConditions:
- name: spec-changed
  expression: oldObject == null || object.spec != oldObject.spec
variables:
- name: models
  expression: '(has(object.spec.predictor.sklearn) ? [{''at'': dyn(''spec.predictor.sklearn''), ''is'': dyn(object.spec.predictor.sklearn)}]
    : []) + (has(object.spec.predictor.xgboost) ? [{''at'': dyn(''spec.predictor.xgboost''), ''is'': dyn(object.spec.predictor.xgboost)}]
    : []) + (has(object.spec.predictor.lightgbm) ? [{''at'': dyn(''spec.predictor.lightgbm''), ''is'': dyn(object.spec.predictor.lightgbm)}]
    : []) + (has(object.spec.predictor.onnx) ? [{''at'': dyn(''spec.predictor.onnx''), ''is'': dyn(object.spec.predictor.onnx)}]
    : []) + (has(object.spec.predictor.pytorch) ? [{''at'': dyn(''spec.predictor.pytorch''), ''is'': dyn(object.spec.predictor.pytorch)}]
    : []) + (has(object.spec.predictor.tensorflow) ? [{''at'': dyn(''spec.predictor.tensorflow''), ''is'': dyn(object.spec.predictor.tensorflow)}]
    : []) + (has(object.spec.predictor.huggingface) ? [{''at'': dyn(''spec.predictor.huggingface''), ''is'': dyn(object.spec.predictor.huggingface)}]
    : []) + (has(object.spec.predictor.mlflow) ? [{''at'': dyn(''spec.predictor.mlflow''), ''is'': dyn(object.spec.predictor.mlflow)}]
    : []) + (has(object.spec.predictor.triton) ? [{''at'': dyn(''spec.predictor.triton''), ''is'': dyn(object.spec.predictor.triton)}]
    : []) + (has(object.spec.predictor.paddle) ? [{''at'': dyn(''spec.predictor.paddle''), ''is'': dyn(object.spec.predictor.paddle)}]
    : []) + (has(object.spec.predictor.pmml) ? [{''at'': dyn(''spec.predictor.pmml''), ''is'': dyn(object.spec.predictor.pmml)}]
    : []) + (has(object.spec.predictor.model) ? [{''at'': dyn(''spec.predictor.model''), ''is'': dyn(object.spec.predictor.model)}]
    : []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.sklearn)).map(c, {''at'': dyn(''spec.canary[''
    + c.predictor.name + ''].predictor.sklearn''), ''is'': dyn(c.predictor.sklearn)}) : []) + (has(object.spec.canary)
    ? object.spec.canary.filter(c, has(c.predictor.xgboost)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name
    + ''].predictor.xgboost''), ''is'': dyn(c.predictor.xgboost)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c,
    has(c.predictor.lightgbm)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.lightgbm''),
    ''is'': dyn(c.predictor.lightgbm)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.onnx)).map(c,
    {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.onnx''), ''is'': dyn(c.predictor.onnx)}) :
    []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.pytorch)).map(c, {''at'': dyn(''spec.canary[''
    + c.predictor.name + ''].predictor.pytorch''), ''is'': dyn(c.predictor.pytorch)}) : []) + (has(object.spec.canary)
    ? object.spec.canary.filter(c, has(c.predictor.tensorflow)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name
    + ''].predictor.tensorflow''), ''is'': dyn(c.predictor.tensorflow)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c,
    has(c.predictor.huggingface)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.huggingface''),
    ''is'': dyn(c.predictor.huggingface)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.mlflow)).map(c,
    {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.mlflow''), ''is'': dyn(c.predictor.mlflow)})
    : []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.triton)).map(c, {''at'': dyn(''spec.canary[''
    + c.predictor.name + ''].predictor.triton''), ''is'': dyn(c.predictor.triton)}) : []) + (has(object.spec.canary)
    ? object.spec.canary.filter(c, has(c.predictor.paddle)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name
    + ''].predictor.paddle''), ''is'': dyn(c.predictor.paddle)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c,
    has(c.predictor.pmml)).map(c, {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.pmml''), ''is'':
    dyn(c.predictor.pmml)}) : []) + (has(object.spec.canary) ? object.spec.canary.filter(c, has(c.predictor.model)).map(c,
    {''at'': dyn(''spec.canary['' + c.predictor.name + ''].predictor.model''), ''is'': dyn(c.predictor.model)})
    : [])'
- name: containers
  expression: '(has(object.spec.predictor) && has(object.spec.predictor.containers) ? object.spec.predictor.containers.map(c,
    {''at'': dyn(''spec.predictor.containers['' + c.name + '']''), ''is'': dyn(c)}) : []) + (has(object.spec.transformer)
    && has(object.spec.transformer.containers) ? object.spec.transformer.containers.map(c, {''at'': dyn(''spec.transformer.containers[''
    + c.name + '']''), ''is'': dyn(c)}) : []) + (has(object.spec.explainer) && has(object.spec.explainer.containers)
    ? object.spec.explainer.containers.map(c, {''at'': dyn(''spec.explainer.containers['' + c.name + '']''), ''is'':
    dyn(c)}) : [])'
- name: initContainers
  expression: '(has(object.spec.predictor) && has(object.spec.predictor.initContainers) ? object.spec.predictor.initContainers.map(c,
    {''at'': dyn(''spec.predictor.initContainers['' + c.name + '']''), ''is'': dyn(c)}) : []) + (has(object.spec.transformer)
    && has(object.spec.transformer.initContainers) ? object.spec.transformer.initContainers.map(c, {''at'': dyn(''spec.transformer.initContainers[''
    + c.name + '']''), ''is'': dyn(c)}) : []) + (has(object.spec.explainer) && has(object.spec.explainer.initContainers)
    ? object.spec.explainer.initContainers.map(c, {''at'': dyn(''spec.explainer.initContainers['' + c.name + '']''),
    ''is'': dyn(c)}) : [])'
- name: withoutMemoryLimit
  expression: (variables.models + variables.containers).filter(p, !((has(p.is.resources) && has(p.is.resources.limits)
    && 'memory' in p.is.resources.limits) || has(p.is.runtime) || (p.at.startsWith('spec.predictor.') && has(object.spec.predictor)
    && has(object.spec.predictor.resources) && has(object.spec.predictor.resources.limits) && 'memory' in object.spec.predictor.resources.limits)
    || (p.at.startsWith('spec.transformer.') && has(object.spec.transformer) && has(object.spec.transformer.resources)
    && has(object.spec.transformer.resources.limits) && 'memory' in object.spec.transformer.resources.limits) ||
    (p.at.startsWith('spec.explainer.') && has(object.spec.explainer) && has(object.spec.explainer.resources) &&
    has(object.spec.explainer.resources.limits) && 'memory' in object.spec.explainer.resources.limits) || (has(object.spec.canary)
    && object.spec.canary.exists(c, p.at.startsWith('spec.canary[' + c.predictor.name + '].') && has(c.predictor.resources)
    && has(c.predictor.resources.limits) && 'memory' in c.predictor.resources.limits)))).map(p, string(p.at))
- name: floatingImages
  expression: (variables.models + variables.containers + variables.initContainers).filter(p, has(p.is.image) &&
    p.is.image.matches('^([^@]*/)?[^:@/]+(:latest)?$')).map(p, p.at + '.image') + variables.models.filter(p, has(p.is.runtimeVersion)
    && p.is.runtimeVersion == 'latest').map(p, p.at + '.runtimeVersion')
- name: unverifiedDownloads
  expression: 'variables.models.filter(p, has(p.is.storageUri) && (p.is.storageUri.startsWith(''http://'') || p.is.storageUri.startsWith(''https://''))
    && !has(p.is.digest)).map(p, p.at + ''.storageUri'') + (has(object.spec.predictor.models) ? object.spec.predictor.models.filter(m,
    has(m.storageUri) && (m.storageUri.startsWith(''http://'') || m.storageUri.startsWith(''https://'')) && !has(m.digest)).map(m,
    ''spec.predictor.models['' + m.name + ''].storageUri'') : []) + (has(object.spec.predictor.storageUris) && object.spec.predictor.storageUris.exists(u,
    (u.uri.startsWith(''http://'') || u.uri.startsWith(''https://''))) ? [''spec.predictor.storageUris''] : [])'
validations:
- expression: variables.withoutMemoryLimit.size() == 0
  message: 'no memory limit: what grows here can take the memory of the whole node; set resources.limits.memory'
  messageExpression: 'variables.withoutMemoryLimit.join('', '') + '': no memory limit: what grows here can take
    the memory of the whole node; set resources.limits.memory'''
- expression: variables.floatingImages.size() == 0
  message: the image has no tag or the tag latest, so pods that start later can run something else; name a version
    or a digest
  messageExpression: 'variables.floatingImages.join('', '') + '': the image has no tag or the tag latest, so pods
    that start later can run something else; name a version or a digest'''
- expression: variables.unverifiedDownloads.size() == 0
  message: 'files from a web server without digest: whoever answers decides what is loaded; set digest, or take
    the URI and digest that pillion push prints'
  messageExpression: 'variables.unverifiedDownloads.join('', '') + '': files from a web server without digest: whoever
    answers decides what is loaded; set digest, or take the URI and digest that pillion push prints'''
{{- end }}
{{- define "pillion.admission.models" -}}
matchConstraints:
  resourceRules:
  - apiGroups:
    - serving.pillion.dev
    apiVersions:
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - models
matchConditions:
- name: spec-changed
  expression: oldObject == null || object.spec != oldObject.spec
variables:
- name: unverifiedDownloads
  expression: '(has(object.spec.storageUri) && (object.spec.storageUri.startsWith(''http://'') || object.spec.storageUri.startsWith(''https://''))
    && !has(object.spec.digest) ? [''spec.storageUri''] : [])'
validations:
- expression: variables.unverifiedDownloads.size() == 0
  message: 'files from a web server without digest: whoever answers decides what is loaded; set digest, or take
    the URI and digest that pillion push prints'
  messageExpression: 'variables.unverifiedDownloads.join('', '') + '': files from a web server without digest: whoever
    answers decides what is loaded; set digest, or take the URI and digest that pillion push prints'''
{{- end }}
{{- define "pillion.admission.servingruntimes" -}}
matchConstraints:
  resourceRules:
  - apiGroups:
    - serving.pillion.dev
    apiVersions:
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - servingruntimes
    - clusterservingruntimes
matchConditions:
- name: spec-changed
  expression: oldObject == null || object.spec != oldObject.spec
variables:
- name: floatingImages
  expression: 'object.spec.containers.map(c, {''at'': dyn(''spec.containers['' + c.name + '']''), ''is'': dyn(c)}).filter(p,
    has(p.is.image) && p.is.image.matches(''^([^@]*/)?[^:@/]+(:latest)?$'')).map(p, p.at + ''.image'')'
validations:
- expression: variables.floatingImages.size() == 0
  message: the image has no tag or the tag latest, so pods that start later can run something else; name a version
    or a digest
  messageExpression: 'variables.floatingImages.join('', '') + '': the image has no tag or the tag latest, so pods
    that start later can run something else; name a version or a digest'''
{{- end }}
{{- define "pillion.admission.trainingjobs" -}}
matchConstraints:
  resourceRules:
  - apiGroups:
    - serving.pillion.dev
    apiVersions:
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - trainingjobs
matchConditions:
- name: spec-changed
  expression: oldObject == null || object.spec != oldObject.spec
variables:
- name: withoutMemoryLimit
  expression: '[{''at'': dyn(''spec''), ''is'': dyn(object.spec)}].filter(p, !((has(p.is.resources) && has(p.is.resources.limits)
    && ''memory'' in p.is.resources.limits))).map(p, string(p.at))'
- name: floatingImages
  expression: '[{''at'': dyn(''spec''), ''is'': dyn(object.spec)}].filter(p, has(p.is.image) && p.is.image.matches(''^([^@]*/)?[^:@/]+(:latest)?$'')).map(p,
    p.at + ''.image'')'
- name: unverifiedDownloads
  expression: '(has(object.spec.dataset) ? (has(object.spec.dataset.uri) && (object.spec.dataset.uri.startsWith(''http://'')
    || object.spec.dataset.uri.startsWith(''https://'')) && !has(object.spec.dataset.digest) ? [''spec.dataset.uri'']
    : []) : [])'
validations:
- expression: variables.withoutMemoryLimit.size() == 0
  message: 'no memory limit: what grows here can take the memory of the whole node; set resources.limits.memory'
  messageExpression: 'variables.withoutMemoryLimit.join('', '') + '': no memory limit: what grows here can take
    the memory of the whole node; set resources.limits.memory'''
- expression: variables.floatingImages.size() == 0
  message: the image has no tag or the tag latest, so pods that start later can run something else; name a version
    or a digest
  messageExpression: 'variables.floatingImages.join('', '') + '': the image has no tag or the tag latest, so pods
    that start later can run something else; name a version or a digest'''
- expression: variables.unverifiedDownloads.size() == 0
  message: 'files from a web server without digest: whoever answers decides what is loaded; set digest, or take
    the URI and digest that pillion push prints'
  messageExpression: 'variables.unverifiedDownloads.join('', '') + '': files from a web server without digest: whoever
    answers decides what is loaded; set digest, or take the URI and digest that pillion push prints'''
{{- end }}
{{- define "pillion.admission.batchpredictions" -}}
matchConstraints:
  resourceRules:
  - apiGroups:
    - serving.pillion.dev
    apiVersions:
    - v1beta1
    operations:
    - CREATE
    - UPDATE
    resources:
    - batchpredictions
matchConditions:
- name: spec-changed
  expression: oldObject == null || object.spec != oldObject.spec
variables:
- name: withoutMemoryLimit
  expression: '[{''at'': dyn(''spec''), ''is'': dyn(object.spec)}].filter(p, !((has(p.is.resources) && has(p.is.resources.limits)
    && ''memory'' in p.is.resources.limits))).map(p, string(p.at))'
- name: unverifiedDownloads
  expression: '(has(object.spec.model) ? (has(object.spec.model.storageUri) && (object.spec.model.storageUri.startsWith(''http://'')
    || object.spec.model.storageUri.startsWith(''https://'')) && !has(object.spec.model.digest) ? [''spec.model.storageUri'']
    : []) : [])'
validations:
- expression: variables.withoutMemoryLimit.size() == 0
  message: 'no memory limit: what grows here can take the memory of the whole node; set resources.limits.memory'
  messageExpression: 'variables.withoutMemoryLimit.join('', '') + '': no memory limit: what grows here can take
    the memory of the whole node; set resources.limits.memory'''
- expression: variables.unverifiedDownloads.size() == 0
  message: 'files from a web server without digest: whoever answers decides what is loaded; set digest, or take
    the URI and digest that pillion push prints'
  messageExpression: 'variables.unverifiedDownloads.join('', '') + '': files from a web server without digest: whoever
    answers decides what is loaded; set digest, or take the URI and digest that pillion push prints'''
{{- end }}
