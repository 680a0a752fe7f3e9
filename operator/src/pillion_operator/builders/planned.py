"""Looking into a plan: what of one of its objects another part of it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.manifest import key_of, text_at
from pillion_operator.state.names import runtime_config_name

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Desired

__all__ = ["first_of", "runtime_config"]


def first_of(desired: Desired, kind: Kind) -> Manifest:
    """Return the first object of the kind that is planned, an empty one where none is."""
    return next((child.manifest for child in desired.children if child.kind is kind), {})


def runtime_config(desired: Desired, service: str) -> str:
    """Return the text of the `runtime.yaml` that the pods are to have, empty where none is planned."""
    for child in desired.children:
        if child.kind is CONFIG_MAP and key_of(child.manifest).name == runtime_config_name(service):
            return text_at(child.manifest, "data", CONFIG_FILE)
    return ""
