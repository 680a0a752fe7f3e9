"""What pods are told of who has which model, beside the models themselves: `placement.json`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pillion.modelsfile import MODELS_FILE
from pillion.placementfile import PLACEMENT_FILE, Peer, Placed, PlacementFile, PlacementFileError, dump, load, seen_of
from pillion.resources.placement import bytes_of
from pillion_operator.builders.assignment import Wish, assign
from pillion_operator.builders.declared import digest_of, models_in
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.manifest import (
    Manifest,
    annotations_of,
    is_reachable,
    key_of,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from pillion_operator.state.names import MODELS_PLACED_ANNOTATION, models_config_name
from pillion_operator.state.placement import Placement
from pillion_operator.state.plan import Child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.modelsfile import DeclaredModel
    from pillion.resources import JsonObject
    from pillion.resources.placement import ModelPlacementSpec
    from pillion_operator.state.declared import PodReport
    from pillion_operator.state.plan import Desired

__all__ = [
    "POD_VARIABLE",
    "Member",
    "former_wish",
    "is_member",
    "members_of",
    "placement_in",
    "placement_of",
    "wish_of",
    "with_placement",
]

POD_VARIABLE: Final = "PILLION_POD_NAME"
"""The variable by which a pod knows its name, and that it is to follow the placement. Not one of the settings' own
names: runtimes of earlier releases would refuse to start with a setting that they do not know."""
_UNKNOWN_BYTES: Final = 16 * 1024 * 1024
"""What a model is taken for before anything is known of any."""


@dataclass(frozen=True, slots=True)
class Member:
    """A pod that follows the placement.

    Attributes:
        name: its name.
        address: where the others find it.
        takes: whether it can be given models.
        serving: ids of the declarations that it serves.
        served: names of models of which it serves some version; None where it did not say.
        sizes: bytes that models take in it, by the ids of their declarations.
        seen: by which the placement is known that it follows; empty where it did not say.
    """

    name: str
    address: str
    takes: bool = True
    serving: frozenset[str] = frozenset()
    served: frozenset[str] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    seen: str = ""


def wish_of(spec: ModelPlacementSpec) -> Wish:
    """Return what the manifest asks for."""
    return Wish(spec.copies or 1, None if spec.memory is None else bytes_of(spec.memory))


def former_wish(before: PlacementFile) -> Wish:
    """Return what was asked for, for pods that follow a placement which the manifest does not ask for any more."""
    return Wish(max((len(placed.pods) + placed.missing for placed in before.models.values()), default=0) or 1)


def is_member(pod: Manifest) -> bool:
    """Whether a pod follows the placement; those of a revision without one have every model."""
    return MODELS_PLACED_ANNOTATION in annotations_of(pod)


def members_of(pods: Sequence[Manifest], reports: Sequence[PodReport]) -> tuple[Member, ...]:
    """Return the pods that follow the placement and have an address.

    A pod that answers nobody, neither the kubelet's probe nor the operator, is given no models, unless it has not been
    Ready yet after its first start. Where the operator reaches no pod at all, it is the way there that is closed, and
    every pod counts.
    """
    said = {report.pod: report for report in reports}
    closed = not any(report.reached for report in reports)
    found: list[Member] = []
    for pod in pods:
        address, name = text_at(pod, "status", "podIP"), key_of(pod).name
        ended = text_at(pod, "status", "phase") in {"Succeeded", "Failed"}
        if not address or ended or not is_member(pod):
            continue
        report = said.get(name)
        reached = report is not None and report.reached
        serving = {} if report is None else {i: one for i, one in report.models.items() if one.state == "Ready"}
        takes = is_reachable(pod) and (reached or closed or _is_ready(pod) or _is_new(pod))
        sizes = {id_: one.bytes for id_, one in serving.items() if one.bytes}
        served = report.served if report is not None and reached else None
        seen = "" if report is None else report.placement
        found.append(Member(name, address, takes, frozenset(serving), served, sizes, seen))
    return tuple(sorted(found, key=lambda member: member.name))


def placement_of(
    models: Sequence[DeclaredModel], members: Sequence[Member], before: PlacementFile | None, wish: Wish
) -> PlacementFile:
    """Return the file: the new places, and the former ones until all of those serve and every pod knows of them."""
    former = {} if before is None else before.models
    sizes = _sizes(models, members, former)
    known = {member.name: member for member in members}
    current = "" if before is None else seen_of(dump(before))
    told = all(member.seen in {"", current} for member in members)
    decided = assign(
        sizes,
        [member.name for member in members if member.takes],
        {name: placed.pods for name, placed in former.items()},
        wish,
    )
    placed: dict[str, Placed] = {}
    for model in models:
        pods = decided.places[model.name]
        missing = decided.missing.get(model.name, 0)
        held = [
            pod
            for pod in (former[model.name].holders if model.name in former else ())
            if pod in known and ((served := known[pod].served) is None or model.name in served)
        ]
        same = model.name in former and former[model.name].pods == pods
        arrived = told and same and not missing and all(model.id in known[pod].serving for pod in pods)
        placed[model.name] = Placed(
            pods=pods,
            until=() if arrived else tuple(pod for pod in dict.fromkeys(held) if pod not in pods),
            missing=missing,
            bytes=sizes[model.name],
            why=_why(model.name, sizes[model.name], missing, decided.most_free, members, wish) if missing else "",
        )
    return PlacementFile(pods={member.name: Peer(address=member.address) for member in members}, models=placed)


def placement_in(config: Manifest | None) -> PlacementFile | None:
    """Return the placement in a ConfigMap of declared models; None where there is none, or it cannot be read."""
    text = text_at(config or {}, "data", PLACEMENT_FILE)
    try:
        return load(text) if text else None
    except PlacementFileError:
        return None  # somebody else's words


def with_placement(
    service: str, desired: Desired, members: Sequence[Member], live: Manifest | None, wish: Wish
) -> Desired:
    """Return the plan with the placement in the ConfigMap of declared models; as it was where there is none.

    Args:
        service: the InferenceService's name.
        desired: the plan.
        members: the pods that follow it.
        live: that ConfigMap as it is.
        wish: what the manifest asks for.
    """
    name = models_config_name(service)
    child = next((c for c in desired.children if c.kind is CONFIG_MAP and key_of(c.manifest).name == name), None)
    if child is None:
        return desired
    models = models_in(child.manifest)
    file = placement_of(models, members, placement_in(live), wish)
    data: JsonObject = {**object_at(child.manifest, "data"), PLACEMENT_FILE: dump(file)}
    told = Child(CONFIG_MAP, child.manifest | {"data": data})
    return replace(
        desired,
        children=tuple(told if one is child else one for one in desired.children),
        models_digest=digest_of(text_at(told.manifest, "data", MODELS_FILE) + dump(file)),
        placement=Placement(file, {model.name: model.id for model in models}),
    )


def _is_ready(pod: Manifest) -> bool:
    conditions = objects_at(pod, "status", "conditions")
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _is_new(pod: Manifest) -> bool:
    """Whether its containers have been started once and not again, and it has not been Ready since.

    One that was Ready and is not any more has hung, or its node is gone. Times are of one form, and so in order.
    """
    containers = objects_at(pod, "status", "containerStatuses")
    started = max((text_at(one, "state", "running", "startedAt") for one in containers), default="")
    conditions = objects_at(pod, "status", "conditions")
    changed = max((text_at(one, "lastTransitionTime") for one in conditions if one.get("type") == "Ready"), default="")
    was_ready = bool(started) and changed > started
    return not was_ready and not any(number_at(one, "restartCount") for one in containers)


def _sizes(models: Sequence[DeclaredModel], members: Sequence[Member], former: Mapping[str, Placed]) -> dict[str, int]:
    """Return what each takes: as pods measured it, else as it was, else as the others on average."""
    known: dict[str, int] = {}
    for model in models:
        measured = max((member.sizes.get(model.id, 0) for member in members), default=0)
        before = former[model.name].bytes if model.name in former else 0
        if measured or before:
            # Pods measure a little differently each time: that is no reason for another file.
            known[model.name] = before if before and 0.8 <= measured / before <= 1 else measured or before
    usual = sum(known.values()) // len(known) if known else _UNKNOWN_BYTES
    return {model.name: known.get(model.name, usual) for model in models}


def _why(name: str, size: int, missing: int, free: int, members: Sequence[Member], wish: Wish) -> str:
    number = sum(member.takes for member in members)
    if not number:
        return ""  # they are to come
    pods = f"{number} {'pod' if number == 1 else 'pods'}"
    copies = "a copy" if missing == 1 else f"{missing} copies"
    return (
        f"there is no room for {copies} of the model {name!r}: it takes {_mebibytes(size)}, and the emptiest of {pods} "
        f"has {_mebibytes(free)} left of modelPlacement.memory, {_mebibytes(wish.budget or 0)}"
    )


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
