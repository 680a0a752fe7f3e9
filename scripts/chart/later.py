"""`templates/_later.tpl`: the values that came after the first release, with their defaults.

`helm upgrade --reuse-values` brings the values of the former release and none of the new chart's. What a template reads
has to be there all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from pydantic import JsonValue

__all__ = ["LATER", "later_template"]

_VALUES: Final = Path(__file__).resolve().parents[2] / "charts" / "pillion" / "values.yaml"
#: Each map of values, or value in a map, that has come since. What was there before may be missing because of a `null`.
LATER: Final = (
    "activator",
    "admissionPolicy",
    "certificates",
    "dashboards",
    "kserve",
    "modelPolicy",
    "namespaceSelector",
    "networkPolicy",
    "networkPolicy.apiServer",
    "prometheusRule.runbookUrl",
    "routes",
    "sidecarInjector",
    "trainings",
)
_TEMPLATE: Final = """\
{{- /* Generated from values.yaml and scripts/chart/later.py by `make generate`; do not edit. */}}
{{- define "pillion.laterValues" -}}
DEFAULTS
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
"""


def later_template() -> str:
    """Return the text of the template that fills them in."""
    values = yaml.safe_load(_VALUES.read_text())
    defaults: dict[str, JsonValue] = {}
    for path in LATER:
        default = defaults[path] = _at(values, path)
        # With `--set` a map may be there that holds one value alone. Maps in it, such as resources, may be taken out.
        inner = default if isinstance(default, dict) else {}
        defaults |= {f"{path}.{key}": value for key, value in inner.items() if not isinstance(value, dict)}
    texts = (yaml.safe_dump({path: default}, sort_keys=False, width=110) for path, default in defaults.items())
    return _TEMPLATE.replace("DEFAULTS", "".join(texts).rstrip("\n"))


def _at(values: JsonValue, path: str) -> JsonValue:
    for key in path.split("."):
        assert isinstance(values, dict), path
        values = values[key]
    return values
