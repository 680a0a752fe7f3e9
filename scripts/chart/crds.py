"""Templates of the custom resource definitions."""

from __future__ import annotations

import yaml

__all__ = ["template"]

#: The annotation that makes Helm leave an object where it is on uninstall.
_KEEP = "helm.sh/resource-policy"


def template(definition: dict[str, object]) -> str:
    """Return the template of one definition: installed by `crds.enabled`, kept on uninstall by `crds.keep`.

    The release's labels are added; what reads as a template action in a description is escaped.
    """
    metadata = definition["metadata"]
    assert isinstance(metadata, dict)  # every object has metadata
    body = {key: value for key, value in definition.items() if key not in {"metadata", "status"}}
    head = {key: body.pop(key) for key in ("apiVersion", "kind")}
    annotations = metadata.get("annotations", {})
    lines = [
        "{{- /* Generated from crds/ by `make generate`; do not edit. */}}",
        "{{- if .Values.crds.enabled }}",
        _text(head),
        "metadata:",
        f"  name: {metadata['name']}",
        "  labels:",
        *(f"    {_text({key: value})}" for key, value in metadata.get("labels", {}).items()),
        '    {{- include "pillion.releaseLabels" . | nindent 4 }}',
        *(["  annotations:"] if annotations else ["  {{- if .Values.crds.keep }}", "  annotations:"]),
        *(f"    {_text({key: value})}" for key, value in annotations.items()),
        *(["    {{- if .Values.crds.keep }}"] if annotations else []),
        f"    {_KEEP}: keep",
        "    {{- end }}" if annotations else "  {{- end }}",
        _text(body),
        "{{- end }}",
    ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    dumped = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")
    return dumped.replace("{{", '{{ "{{" }}')
