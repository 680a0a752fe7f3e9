"""Models with a task of one name have one signature of it: whoever comes later is refused where its own differs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from pillion.authoring.contract import differences, training_differences
from pillion.authoring.names import same_task
from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.training import TrainSignature
    from pillion.repository.entry import Entry, Key

__all__ = ["agree"]

_PATIENCE_SECONDS: Final = 60.0
"""How long models before it are waited for, where they may differ. One whose load never ends must not keep the others
from serving; if it does end it is compared with those that serve by then."""


async def agree(
    key: Key,
    entry: Entry,
    entries: Mapping[Key, Entry],
    tasks: Mapping[str, TaskSignature],
    training: TrainSignature | None = None,
) -> None:
    """Check the tasks of a model that has been loaded against those of all other models, before it serves.

    The order in which models were declared or deployed decides, and not which was loaded first: those before it that
    are just being loaded are waited for, unless what their classes declare is known and does not differ (see
    :mod:`pillion.repository.expected`). Those after it that are about to change are left aside, since they are
    compared with this one when they have. Versions of one model may differ: that is how a contract is changed.

    Args:
        key: of the model.
        entry: of the model.
        entries: all there are; read again after each wait.
        tasks: of the model as it was loaded.
        training: of its class.

    Raises:
        ModelLoadError: another model has a task of that name, or a training, with another signature. The text shows
            the difference.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while earlier := next((one for one in _others(key, entries) if _holds_back(one, entry, tasks)), None):
                if earlier.expected is not None and earlier.expected.tasks is None:
                    await earlier.expected.known()
                else:
                    async with earlier.lock:
                        pass
    for (name, _), other in entries.items():
        if name == key[0] or other.served is None or other.removed or other.suspended or other.loading:
            continue
        for task, found in _differences(getattr(other.served.model, "tasks", {}), tasks):
            raise ModelLoadError(
                f"its task {task!r} differs from that of model {name!r}, which is its contract: {'; '.join(found)}",
                f'give it the same signature, or another name: @task("{task}_of_{key[0]}")',
            )
        theirs = getattr(getattr(other.served.model, "definition", None), "training", None)
        if training is not None and theirs is not None and theirs.name == training.name:
            _refuse_other(name, theirs, training)


def _refuse_other(name: str, theirs: TrainSignature, training: TrainSignature) -> None:
    found = "; ".join(training_differences(theirs, training))
    if found:
        raise ModelLoadError(
            f"its training {training.name} ({training.owner}.{training.method}) differs from that of model {name!r}"
            f" ({theirs.owner}.{theirs.method}), which is asked for by that name: {found}",
            'rename one of the classes, or its task for trainings: @train(task="...")',
        )


def _holds_back(other: Entry, entry: Entry, tasks: Mapping[str, TaskSignature]) -> bool:
    """Whether another model, before this one, is being loaded now, and may turn out to have other contracts."""
    # Then its lock is held.
    if not (other.rank < entry.rank and other.loading and other.lock.locked()) or other.expected is None:
        return False
    return other.expected.tasks is None or any(_differences(other.expected.tasks, tasks))


def _differences(
    contracts: Mapping[str, TaskSignature], tasks: Mapping[str, TaskSignature]
) -> Iterator[tuple[str, Sequence[str]]]:
    """Each task that is not as the contract of its name, and how."""
    theirs = {same_task(known): one for known, one in contracts.items()}
    for task, signature in tasks.items():
        contract = theirs.get(same_task(task))
        found = () if contract is None else differences(contract, signature)
        if found:
            yield task, found


def _others(key: Key, entries: Mapping[Key, Entry]) -> list[Entry]:
    return [entry for (name, _), entry in entries.items() if name != key[0]]
