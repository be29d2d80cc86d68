{{/* Names and labels shared by the chart's templates. */}}

{{- define "vllm-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "vllm-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "vllm-operator.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A Deployment's selector cannot change: these two labels are constant over all versions. */}}
{{- define "vllm-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "vllm-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "vllm-operator.labels" -}}
{{ include "vllm-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: triton-vllm-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "vllm-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "vllm-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must be set when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The lease has a name of its own per release: two releases in one namespace do not take turns. */}}
{{- define "vllm-operator.leaseName" -}}
{{- include "vllm-operator.fullname" . -}}
{{- end -}}

{{/* repository@digest, or repository:tag. Takes (dict "image" ... "tag" <default tag>). */}}
{{- define "vllm-operator.imageReference" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "vllm-operator.image" -}}
{{- $_ := required "image.repository must be set: no image is published yet, build one with `make images` and push it to your registry (docs/install.md)" .Values.image.repository -}}
{{- include "vllm-operator.imageReference" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{- define "vllm-operator.runtimeImage" -}}
{{- $_ := required "runtime.image.repository must be set: the Triton + vLLM image for models that name none (docs/install.md)" .Values.runtime.image.repository -}}
{{- if not .Values.runtime.image.digest -}}
{{- $_ := required "runtime.image.tag or runtime.image.digest must be set" .Values.runtime.image.tag -}}
{{- end -}}
{{- include "vllm-operator.imageReference" (dict "image" .Values.runtime.image "tag" "") -}}
{{- end -}}

{{/* What every container of this chart runs under: the restricted Pod Security Standard and a read-only root. */}}
{{- define "vllm-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The user is the image's own (65532), or what the cluster assigns. */}}
{{- define "vllm-operator.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What the operator may do with models and their children, the same in a ClusterRole and in a Role. */}}
{{- define "vllm-operator.modelRules" -}}
- apiGroups: [triton-vllm.dev]
  resources: [vllmmodels]
  verbs: [get, list, watch]
- apiGroups: [triton-vllm.dev]
  resources: [vllmmodels/status]
  verbs: [patch]
# These two go with their model, by garbage collection, and are never deleted by the operator.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# These two are pruned: there is one for each revision. ConfigMaps are immutable: replaced, never changed.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Read only where a Deployment has made no progress for too long, for one pod at a time.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, list]
{{- end -}}

{{/* Namespaces that get the models' NetworkPolicy, as a JSON list. */}}
{{- define "vllm-operator.modelPolicyNamespaces" -}}
{{- default .Values.watch.namespaces .Values.networkPolicy.models.namespaces | toJson -}}
{{- end -}}
