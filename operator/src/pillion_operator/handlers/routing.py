"""From an object that changed to the keys that must be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.observe.store import owner_of
from pillion_operator.state.kinds import INFERENCE_SERVICE, LABELLED, RUNTIMES
from pillion_operator.state.manifest import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.observe.store import Store
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Key, Manifest

__all__ = ["keys_for"]


def keys_for(kind: Kind, manifest: Manifest, store: Store) -> Iterable[Key]:
    """Return the InferenceServices that the object bears on."""
    if kind == INFERENCE_SERVICE:
        return [key_of(manifest)]
    if kind in LABELLED:
        owner = owner_of(manifest)
        return [] if owner is None else [owner]
    if kind in RUNTIMES:
        # Which service would choose another runtime now is for the selection to say; looking costs no request.
        namespace = key_of(manifest).namespace
        return [key for key in store.keys(INFERENCE_SERVICE) if not namespace or key.namespace == namespace]
    return []
