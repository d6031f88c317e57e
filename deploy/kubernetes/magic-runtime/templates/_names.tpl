{{- define "magic.name" -}}
{{- $whole := printf "%s-%s" .Release.Name .Chart.Name }}
{{- ternary .Release.Name $whole (contains .Chart.Name .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "magic.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "magic.labels" -}}
{{ include "magic.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "magic.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "magic.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "magic.secret" -}}
{{- if .Values.secret.existing -}}
{{ .Values.secret.existing }}
{{- else if .Values.secret.create -}}
{{ include "magic.name" . }}
{{- else -}}
{{ fail "name a Secret in secret.existing, or set secret.create: the runtime needs ADMIN_API_KEY, DATABASE_URL, MAGIC_STORE_URL and REDIS_URL" }}
{{- end -}}
{{- end }}

{{- /* The production policy with the layers of the values. The file is the one of policies/, so that there is one policy. */ -}}
{{- define "magic.policy" -}}
{{- if .Values.policy.text -}}
{{ .Values.policy.text }}
{{- else -}}
{{- $text := .Files.Get "files/production.yaml" }}
{{- range $layer, $wanted := .Values.policy.layers }}
{{- $text = $text | replace (printf "  %s: required" $layer) (printf "  %s: %s" $layer $wanted) }}
{{- end }}
{{- $text }}
{{- end -}}
{{- end }}
