"""Settings from environment variables: ``PILLION_SECTION__KEY``, or a whole section as JSON in ``PILLION_SECTION``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic import JsonValue

    Nested = dict[str, JsonValue]

__all__ = ["variable_of", "variables"]

_PREFIX: Final = "PILLION_"


def variable_of(key: str) -> str:
    """The environment variable of a dotted key: ``http.port`` is ``PILLION_HTTP__PORT``."""
    return _PREFIX + key.replace(".", "__").upper()


def variables(environ: Mapping[str, str], sections: Collection[str], plain: Collection[str] = ()) -> Nested:
    """The values by section and key; those of single keys win over a whole section's. Empty ones are not set.

    Kubernetes makes variables like ``PILLION_PORT`` for a Service called pillion: what names no setting is not ours.

    Args:
        environ: all variables.
        sections: dotted names of every section.
        plain: names of the settings in none.

    Raises:
        StartError: a section's value is not a JSON object.
    """
    found: Nested = {}
    ours = ((name.upper().removeprefix(_PREFIX).lower().split("__"), name) for name in environ if _is_ours(name))
    for parts, name in sorted(ours, key=lambda entry: len(entry[0])):
        value = environ[name]
        if not value or (parts[0] not in sections and (len(parts) > 1 or parts[0] not in plain)):
            continue
        here = found
        for part in parts[:-1]:
            below = here.get(part)
            if not isinstance(below, dict):
                below = here[part] = {}
            here = below
        here[parts[-1]] = _section(name, value) if ".".join(parts) in sections else value
    return found


def _is_ours(name: str) -> bool:
    return name.upper().startswith(_PREFIX)


def _section(name: str, value: str) -> Nested:
    try:
        return msgspec.json.decode(value, type=dict)
    except msgspec.DecodeError as error:
        raise StartError(
            ExitCode.USAGE, f"{name}: {error}: values of whole sections are JSON objects; or set {name}__KEY"
        ) from None
