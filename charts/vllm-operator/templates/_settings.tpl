{{/* The operator's settings as environment variables, in a fixed order. All values are strings. */}}
{{- define "vllm-operator.settings" -}}
{{- $versions := list -}}
{{- range .Values.runtime.vllmVersions -}}
{{- $versions = append $versions (printf "%s=%s" .image .version) -}}
{{- end -}}
{{- $settings := list
  (list "NAMESPACES" (join "," .Values.watch.namespaces))
  (list "RUNTIME_IMAGE" (include "vllm-operator.runtimeImage" .))
  (list "RUNTIME_UPGRADE" .Values.runtime.upgrade)
  (list "ALLOWED_IMAGES" (join "," .Values.runtime.allowedImages))
  (list "VLLM_VERSIONS" (join "," $versions))
  (list "PERMITTED_ENGINE_ARGS" (join "," .Values.policy.permittedEngineArgs))
  (list "ALLOWED_ENV" (join "," .Values.policy.allowedEnv))
  (list "ALLOWED_GPU_RESOURCES" (join "," .Values.policy.allowedGPUResources))
  (list "ALLOWED_PRIORITY_CLASSES" (join "," .Values.policy.allowedPriorityClasses))
  (list "ALLOWED_RUNTIME_CLASSES" (join "," .Values.policy.allowedRuntimeClasses))
  (list "ALLOWED_CLAIMS" (join "," .Values.policy.allowedClaims))
  (list "ALLOWED_SECRETS" (join "," .Values.policy.allowedSecrets))
  (list "ALLOWED_MODEL_IMAGES" (join "," .Values.policy.allowedModelImages))
  (list "ALLOW_PICKLED_WEIGHTS" (default false .Values.policy.allowPickledWeights))
  (list "HUB_ENDPOINT" .Values.policy.hubEndpoint)
  (list "WORKERS" .Values.operator.workers)
  (list "RESYNC_SECONDS" .Values.operator.resyncSeconds)
  (list "REQUEST_TIMEOUT_SECONDS" .Values.operator.requestTimeoutSeconds)
  (list "PROBE_CONCURRENCY" .Values.operator.probeConcurrency)
  (list "REVISION_HISTORY_LIMIT" .Values.operator.revisionHistoryLimit)
  (list "LEASE_NAME" (include "vllm-operator.leaseName" .))
  (list "LEASE_DURATION_SECONDS" .Values.operator.lease.durationSeconds)
  (list "LEASE_RENEW_DEADLINE_SECONDS" .Values.operator.lease.renewDeadlineSeconds)
  (list "LEASE_RETRY_PERIOD_SECONDS" .Values.operator.lease.retryPeriodSeconds)
  (list "HTTP_PORT" 8080)
  (list "LOG_FORMAT" .Values.operator.log.format)
  (list "LOG_LEVEL" .Values.operator.log.level)
-}}
{{- range $settings }}
- name: VLLM_OPERATOR_{{ index . 0 }}
  value: {{ index . 1 | toString | quote }}
{{- end }}
{{- end -}}
