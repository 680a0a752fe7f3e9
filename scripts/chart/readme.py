"""`charts/pillion/README.md`: how to install, and a table of the values made from their model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel

from scripts.chart.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["readme"]

_HEAD = """\
# Pillion

Installs the operator and its custom resource definitions. No cert-manager, service mesh or object store is needed.

```console
$ helm install pillion charts/pillion --namespace pillion --create-namespace --wait
$ helm test pillion --namespace pillion
```

- Both images come from one registry: `image.registry`.
- The custom resource definitions are part of the release (`crds.enabled`) and stay on `helm uninstall` (`crds.keep`),
  and with them every InferenceService. A reinstall under the same release name and namespace takes them over again.
- `scope: namespaced` with `namespaces: [...]` needs no right to read or write workloads outside of them.
- The chart holds no custom resources; the operator applies the built-in runtimes itself (`builtinRuntimes.enabled`).

## Values

| Value | Default | Meaning |
|---|---|---|
"""


def readme() -> str:
    """Return the text of the chart's README."""
    rows = (f"| `{name}` | `{default}` | {meaning} |\n" for name, default, meaning in _rows(Values(), ""))
    return _HEAD + "".join(rows)


def _rows(part: BaseModel, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(part).model_fields.items():
        path = f"{prefix}{field.alias}"
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{path}.")
        else:
            yield path, json.dumps(value), (field.description or "").replace("|", "\\|")
