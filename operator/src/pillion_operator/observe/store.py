"""The caches: what the watches delivered, what our own writes answered, and what the periodic lists corrected.

Three sources feed it, in any order, so every entry is guarded by its resource version: what is older never replaces
what is newer, and what was deleted never comes back under the same uid.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final, TypeVar, cast

from pillion_operator.observe.sharing import Sharing
from pillion_operator.state.kinds import (
    BATCH_PREDICTION,
    CONTROLLER_REVISION,
    INFERENCE_SERVICE,
    JOB,
    KSERVE_INFERENCE_SERVICE,
    LABELLED,
    POD,
    TRAINING_JOB,
    Kind,
)
from pillion_operator.state.manifest import (
    Key,
    Manifest,
    controller_uid,
    generation_of,
    is_deleting,
    key_of,
    labels_of,
    object_at,
    uid_of,
    version_of,
)
from pillion_operator.state.names import BATCH_LABEL, BESIDE, COMPONENT_LABEL, OWNER_LABEL, TRAINING_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Store", "batch_of", "newer", "owner_of", "training_of"]

T = TypeVar("T")

_REMEMBERED_DELETIONS: Final = 10_000
#: Parts of a pod's spec that nothing here reads; they are most of its size.
_POD_PARTS: Final = ("containers", "initContainers", "volumes", "affinity", "tolerations", "topologySpreadConstraints")

#: Kinds whose `managedFields` nothing here reads.
_TRIMMED: Final = frozenset(
    {POD, INFERENCE_SERVICE, KSERVE_INFERENCE_SERVICE, TRAINING_JOB, BATCH_PREDICTION, CONTROLLER_REVISION}
)


def newer(left: str, right: str) -> bool:
    """Whether resource version `left` is newer; versions of one API server are ordered numbers."""
    try:
        return int(left) > int(right or 0)
    except ValueError:
        return left != right


def owner_of(manifest: Manifest) -> Key | None:
    """Return the key of the InferenceService that a labelled object belongs to."""
    name = labels_of(manifest).get(OWNER_LABEL)
    return Key(key_of(manifest).namespace, name) if name else None


def training_of(manifest: Manifest) -> Key | None:
    """Return the key of the TrainingJob that a labelled object belongs to."""
    name = labels_of(manifest).get(TRAINING_LABEL)
    return Key(key_of(manifest).namespace, name) if name else None


def batch_of(manifest: Manifest) -> Key | None:
    """Return the key of the BatchPrediction that a labelled object belongs to."""
    name = labels_of(manifest).get(BATCH_LABEL)
    return Key(key_of(manifest).namespace, name) if name else None


def _owner(manifest: Manifest) -> tuple[Kind, Key] | None:
    training, batch, service = training_of(manifest), batch_of(manifest), owner_of(manifest)
    if training is not None:
        return TRAINING_JOB, training
    if batch is not None:
        return BATCH_PREDICTION, batch
    return None if service is None else (INFERENCE_SERVICE, service)


class Store:
    """Objects by kind and key, and labelled objects by the object of ours that they belong to."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[Key, Manifest]] = defaultdict(dict)
        self._owned: dict[Kind, dict[tuple[Kind, Key], set[Key]]] = defaultdict(lambda: defaultdict(set))
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._sharing = Sharing()
        self._derived: dict[tuple[Kind, object], dict[Key, tuple[Manifest, object]]] = defaultdict(dict)

    def get(self, kind: Kind, key: Key) -> Manifest | None:
        """Return the object, None where it is not known."""
        return self._objects[kind].get(key)

    def latest(self, kind: Kind, known: Manifest) -> Manifest:
        """Return the newest of the same object in the same generation, `known` itself where that is another now."""
        found = self.get(kind, key_of(known))
        same = found is not None and generation_of(found) == generation_of(known) and uid_of(found) == uid_of(known)
        return found if found is not None and same else known

    def job_of(self, owner: Manifest, kind: Kind, name: str) -> tuple[Manifest | None, tuple[Manifest, ...]]:
        """Return the Job of that name that belongs to the owner, and the pods that this very Job has made."""
        live = self.children(owner, (JOB,), kind)[JOB].get(name)
        if live is None:
            return None, ()
        # A label can be put on any pod: what counts is that the Job made it.
        uid = uid_of(live)
        return live, tuple(pod for pod in self.owned(POD, key_of(owner), kind) if controller_uid(pod) == uid)

    def all(self, kind: Kind, namespace: str = "") -> list[Manifest]:
        """Return every known object of the kind, in one namespace where given."""
        objects = self._objects[kind]
        return [found for key, found in objects.items() if not namespace or key.namespace == namespace]

    def derived(self, kind: Kind, make: Callable[[Manifest], T]) -> list[tuple[Manifest, T]]:
        """Return every known object of the kind with what `make` makes of it, which is done once for each version."""
        objects, known = self._objects[kind], self._derived[kind, make]
        for key, found in objects.items():
            made = known.get(key)
            if made is None or made[0] is not found:
                known[key] = (found, make(found))
        if len(known) > len(objects):
            for key in known.keys() - objects.keys():
                del known[key]
        return cast("list[tuple[Manifest, T]]", list(known.values()))

    def keys(self, kind: Kind) -> list[Key]:
        """Return the keys of every known object of the kind."""
        return list(self._objects[kind])

    def count(self, kind: Kind) -> int:
        """Return how many objects of the kind are known."""
        return len(self._objects[kind])

    def owned(self, kind: Kind, owner: Key, owner_kind: Kind = INFERENCE_SERVICE) -> list[Manifest]:
        """Return the objects that carry the label of that InferenceService, or other owner."""
        objects = self._objects[kind]
        return [objects[key] for key in sorted(self._owned[kind].get((owner_kind, owner), ())) if key in objects]

    def pods(self, service: Key, *, beside: bool = False) -> list[Manifest]:
        """Return the pods of the predictor of an InferenceService, or those of the components beside it."""
        found = self.owned(POD, service)
        return [pod for pod in found if (labels_of(pod).get(COMPONENT_LABEL) in BESIDE) is beside]

    def children(
        self, owner: Manifest, kinds: Iterable[Kind], owner_kind: Kind = INFERENCE_SERVICE
    ) -> Mapping[Kind, Mapping[str, Manifest]]:
        """Return, by kind and name, the labelled objects that this very InferenceService, or other owner, controls."""
        key, uid = key_of(owner), uid_of(owner)
        return {
            kind: {
                key_of(found).name: found for found in self.owned(kind, key, owner_kind) if controller_uid(found) == uid
            }
            for kind in kinds
        }

    def record(self, kind: Kind, manifest: Manifest) -> bool:
        """Take the object over unless something newer is known; return whether it was taken."""
        key, uid = key_of(manifest), uid_of(manifest)
        known = self._objects[kind].get(key)
        if uid in self._deleted or (known is not None and not newer(version_of(manifest), version_of(known))):
            return False
        if known is not None:
            self._unlink(kind, key, known)
        trimmed = self._sharing.of(_trim(kind, manifest))
        self._objects[kind][key] = trimmed
        owner = _owner(trimmed) if kind in LABELLED else None
        if owner is not None:
            self._owned[kind][owner].add(key)
        return True

    def forget(self, kind: Kind, key: Key, uid: str = "") -> Manifest | None:
        """Drop the object, if it is still the one with that uid, and return it."""
        if uid:
            self._deleted[uid] = None
            while len(self._deleted) > _REMEMBERED_DELETIONS:
                self._deleted.popitem(last=False)
        known = self._objects[kind].get(key)
        if known is None or (uid and uid_of(known) != uid):
            return None
        del self._objects[kind][key]
        self._unlink(kind, key, known)
        return known

    def drop(self, kind: Kind) -> None:
        """Drop every object of a kind that the cluster does not have any more."""
        self._objects.pop(kind, None)
        self._owned.pop(kind, None)

    def leave(self, namespace: str) -> None:
        """Drop every object of a namespace that is not looked after any more; they are there, and may come back."""
        for kind in list(self._objects):
            for key in [key for key in self._objects[kind] if key.namespace == namespace]:
                self.forget(kind, key)

    def _unlink(self, kind: Kind, key: Key, known: Manifest) -> None:
        owner = _owner(known) if kind in LABELLED else None
        if owner is not None:
            siblings = self._owned[kind][owner]
            siblings.discard(key)
            if not siblings:
                del self._owned[kind][owner]


def _trim(kind: Kind, manifest: Manifest) -> Manifest:
    """Return the object without what is never read; memory goes with the number of services."""
    if kind not in _TRIMMED:
        return manifest
    metadata = {field: value for field, value in object_at(manifest, "metadata").items() if field != "managedFields"}
    trimmed: Manifest = {**manifest, "metadata": metadata}
    # What a revision holds is read where it is gone back to, which is seldom.
    trimmed.pop("data", None)
    if kind is POD:
        spec = object_at(manifest, "spec")
        trimmed["spec"] = {field: value for field, value in spec.items() if field not in _POD_PARTS}
    return trimmed


def is_live(manifest: Manifest | None) -> bool:
    """Whether there is an object that is not on its way out."""
    return manifest is not None and not is_deleting(manifest)
