"""Equal parts of objects are kept once: what a thousand services have alike takes the memory of one.

Most of a child is the same for every service: what the API server added as defaults, probes, security contexts, and who
owns which field (`metadata.managedFields`), which alone is half of a Deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion_operator.state.manifest import Manifest

__all__ = ["Sharing"]

_Part: TypeAlias = "dict[str, JsonValue] | list[JsonValue]"
#: Parts that are looked up before the older half of what is known is forgotten.
_GENERATION: Final = 4096
#: What lies deeper stays as it came: manifests are not so deep, and what somebody made up must not cost the stack.
_DEEPEST: Final = 40


class Sharing:
    """Knows the parts that were seen lately. What it gives back must not be changed by anybody."""

    def __init__(self) -> None:
        self._young: dict[tuple[object, ...], _Part] = {}
        self._old: dict[tuple[object, ...], _Part] = {}

    def __len__(self) -> int:
        """How many parts are known."""
        return len(self._young) + len(self._old)

    def of(self, manifest: Manifest) -> Manifest:
        """Return an equal object whose parts are those of earlier ones, where these had the same."""
        return {field: self._shared(value, 1) for field, value in manifest.items()}

    def _shared(self, value: JsonValue, depth: int) -> JsonValue:
        if depth > _DEEPEST:
            return value
        made: _Part
        key: tuple[object, ...]
        if isinstance(value, dict):
            made = {name: self._shared(inner, depth + 1) for name, inner in value.items()}
            key = (dict, *made, *map(_identity, made.values()))
        elif isinstance(value, list):
            made = [self._shared(inner, depth + 1) for inner in value]
            key = (list, *map(_identity, made))
        else:
            return value
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key, made)
            if len(self._young) >= _GENERATION:
                self._young, self._old = {}, self._young
            self._young[key] = known
        return cast("JsonValue", known)


def _identity(value: JsonValue) -> object:
    """What tells values apart. A part that is known is alive for as long as a key names it, so its address does."""
    return id(value) if isinstance(value, (dict, list)) else (type(value), value)
