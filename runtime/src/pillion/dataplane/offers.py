"""What the models that serve can be asked for beside inference: tasks, generated text, embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.dataplane.refusals import RETRY_WHILE_LOADING, cannot, not_ready
from pillion.dataplane.tasks import ServedTask, TaskDirectory, task_named
from pillion.errors import ErrorCode, PillionError
from pillion.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.authoring.signature import ModelDefinition
    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.lane import Lane
    from pillion.repository.repository import ModelRepository
    from pillion.runtimefile import DesiredModel

__all__ = ["Offers"]


class Offers:
    """Of one set of lanes; another set has offers of its own.

    Args:
        lanes: by name and version, and by name alone for the version that answers.
        repository: knows of models that do not serve.
    """

    def __init__(self, lanes: Mapping[tuple[str, str | None], Lane], repository: ModelRepository) -> None:
        self._lanes = lanes
        self._repository = repository
        newest = {name: lane for (name, version), lane in lanes.items() if version is None}
        self.directory = TaskDirectory(
            ServedTask(name, lane.served.desired.version, signature, getattr(lane.served.model, "lock", None))
            # By name: the repository's order is not the same from run to run, and people read what is listed.
            for name, lane in sorted(newest.items())
            for signature in lane.tasks.values()
        )
        can = {name: lane.text for name, lane in sorted(newest.items()) if lane.text is not None}
        self.generators = {name: text.generate for name, text in can.items() if text.generate is not None}
        self.embedders = {name: text.embed for name, text in can.items() if text.embed is not None}

    def find(self, task: str, model: str | None = None, version: str | None = None) -> ServedTask:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.find`."""
        if model is None:
            found = self.directory.serving(task)
            if found is None and not self._repository.ready():
                # It may be a task of a model that is not loaded yet.
                waiting = [s for s in self._repository.statuses() if s.state is not ModelState.READY]
                if waiting:
                    raise not_ready(waiting[0])
            return found or self.directory.refuse(task)
        lane = self._lane(model, version)
        signature = task_named(lane.tasks, task)
        if signature is None:
            return self.directory.refuse(task, lane.served.desired.name, lane.tasks)
        return ServedTask(model, lane.served.desired.version, signature)

    def generator(self, model: str, version: str | None = None) -> tuple[ServedTask, Generator]:
        """See :meth:`pillion.dataplane.streams.TextPlane.generator`."""
        lane = self._lane(model, version)
        if lane.text is None or lane.text.generate is None:
            raise cannot(model, "generate text", self.generators)
        return ServedTask(model, lane.served.desired.version, lane.text.generate.task), lane.text.generate

    def embedder(self, model: str, version: str | None = None) -> tuple[ServedTask, Embedder]:
        """See :meth:`pillion.dataplane.streams.TextPlane.embedder`."""
        lane = self._lane(model, version)
        if lane.text is None or lane.text.embed is None:
            raise cannot(model, "embed texts", self.embedders)
        return ServedTask(model, lane.served.desired.version, lane.text.embed.task), lane.text.embed

    def definitions(self) -> list[tuple[DesiredModel, ModelDefinition]]:
        """The classes of the user's that are served now, by the model's name."""
        found = {
            name: (lane.served.desired, definition)
            for (name, version), lane in self._lanes.items()
            if version is None and (definition := getattr(lane.served.model, "definition", None)) is not None
        }
        return [found[name] for name in sorted(found)]

    def _lane(self, model: str, version: str | None) -> Lane:
        lane = self._lanes.get((model, version))
        if lane is None:
            status = self._repository.status(model, version)
            if self._repository.sleeps(model, version):
                self._repository.wake(model, version)
                text = f"model {model!r} is being loaded"
                raise PillionError(ErrorCode.NOT_READY, text, retry_after=RETRY_WHILE_LOADING)
            raise not_ready(status)
        return lane
