"""What the data plane is told of calls of tasks that are begun in the turn that received them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion import Model, task
from pillion.authoring.signature import define
from pillion.dataplane.tasks import ServedTask, TaskResult
from pillion.transport.http.options import DispatchOptions
from pillion.transport.http.routes import Route, Target
from pillion.transport.http.tasks import TaskHandler

if TYPE_CHECKING:
    from pillion.dataplane.call import Call


class Mood(Model):
    @task
    async def tell(self, text: str) -> str:
        return text


class Plane:
    """Keeps the call."""

    call: Call | None = None

    def find(self, *_: object) -> ServedTask:
        return ServedTask("mood", "1", define(Mood).tasks[0])

    async def perform(self, _task: ServedTask, arguments: dict[str, Any], call: Call) -> TaskResult:
        self.call = call
        return TaskResult("mood", "1", arguments["text"])


def test_who_calls_a_task_is_known_by_whom_the_queue_is_shared_out() -> None:
    plane = Plane()
    handler = TaskHandler(plane, DispatchOptions())  # type: ignore[arg-type] # what is needed of it
    target = Target(Route.TASK, task="tell")
    assert b'"fine"' == handler.begin(target, b'{"text": "fine"}', "r", lambda: "192.0.2.1:7")
    assert plane.call is not None
    assert plane.call.client is not None
    assert "192.0.2.1:7" == plane.call.client()
