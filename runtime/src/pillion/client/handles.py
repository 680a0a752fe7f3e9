"""What a client hands out: models and tasks to be called, and jobs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pillion.client.errors import LOST
from pillion.client.following import PATIENCE, Following
from pillion.client.inference import Infer
from pillion.client.services import Which

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pillion.client.errors import ClientError
    from pillion.client.following import JobEvent, What
    from pillion.client.inference import Outputs
    from pillion.client.services import JobState
    from pillion.client.sync import Client

__all__ = ["Job", "ModelHandle", "TaskHandle"]


class ModelHandle:
    """A model of a server. What it takes and gives is asked for once, and again where it has been replaced."""

    def __init__(self, client: Client, name: str, version: str | None) -> None:
        self._client = client
        self.name = name
        self.version = version
        self._told: dict[str, Any] = {}

    def metadata(self) -> dict[str, Any]:
        """Name, versions, platform, and ``inputs`` and ``outputs`` with name, datatype and shape."""
        told: dict[str, Any] = self._client.run(self._client.core.metadata(self.name, self.version))
        return told

    def predict(self, data: Any, *, output: str | None = None, timeout: float | None = None) -> Any:  # noqa: ANN401 - by the data
        """Predictions.

        Args:
            data: an array or nested lists, for a model with one input; a dict of arrays by input; a DataFrame, by
                column.
            output: the one that is wanted, as ``predict_proba``; by default those that the model gives by itself.
            timeout: seconds; by default the client's.

        Returns:
            An array, or a dict of them where the model gives several outputs; texts are ``str``. For a DataFrame, a
            Series or DataFrame with its index.

        Raises:
            ValueError: the data does not fit the model's inputs.
            CallError: the server says why.
        """
        from pillion.client.results import like  # noqa: PLC0415 - numpy only where arrays are

        wanted = () if output is None else (output,)
        core = self._client.core
        outputs = self._client.run(core.predict(self._told, self.name, self.version, data, wanted, timeout))
        return like(data, outputs, output)

    def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Outputs:
        """One call of the Open Inference Protocol: arrays by name with the datatypes that they have, both ways; texts
        are ``bytes``. The outputs are a dict that also says which ``version`` answered.
        """
        from pillion.client.tensors import guessed  # noqa: PLC0415 - as above

        call = Infer(self.name, self.version, guessed(inputs), outputs, parameters)
        found: Outputs = self._client.run(self._client.core.infer(call, timeout))
        return found


class TaskHandle:
    """A task of a server: called as the method would be."""

    def __init__(self, client: Client, name: str, model: str | None, *, idempotent: bool) -> None:
        self._client = client
        self.name = name
        self._model = model
        self._idempotent = idempotent

    def __call__(self, *, timeout: float | None = None, **arguments: Any) -> Any:  # noqa: ANN401 - by the task
        """Its result, as JSON gives it; a :class:`~pillion.File` where it is one.

        Args:
            timeout: seconds; by default the client's.
            arguments: by name; dataclasses, pydantic models, numpy arrays, files and images of Pillow as they are.

        Raises:
            InvalidInput: a name that the task does not have, or lacks; not sent.
            CallError: the server says why.
        """
        core = self._client.core
        return self._client.run(
            core.call(self.name, self._model, arguments, check=True, idempotent=self._idempotent, timeout=timeout)
        )

    def stream(self, *, timeout: float | None = None, **arguments: Any) -> Iterator[Any]:  # noqa: ANN401 - by the task
        """The items of a task that streams, one by one; leaving the loop ends the task.

        Args:
            timeout: seconds until it begins, and between items; by default the client's.
            arguments: as for a call.

        Raises:
            CallError: the server says why, at the first item or later.
        """
        core = self._client.core
        answer = self._client.run(core.begin_stream(self.name, self._model, arguments, timeout=timeout))
        events = self._client.events(answer)
        try:
            for event in events:
                yield event.data
        finally:
            events.close()

    def submit(self, *, key: str | None = None, priority: int | None = None, **arguments: Any) -> Job:  # noqa: ANN401 - by the task
        """Hand it in as a job.

        Args:
            key: the same one is the same job, however often it is sent; by default one of its own.
            priority: from -100 to 100; higher ones go first.
            arguments: as for a call.
        """
        state = self._client.run(self._client.core.submit(self.name, self._model, arguments, key, priority))
        return Job(self._client, Which("prediction", state["prediction_id"], self.name))


class Job:
    """A prediction or training that was handed in. It outlives this object, the client, and the server.

    Attributes:
        id: of the job.
        kind: ``prediction`` or ``training``.
    """

    def __init__(self, client: Client, which: Which) -> None:
        self._client = client
        self.kind = which.kind
        self.id = which.id
        self._which = which

    def status(self) -> JobState:
        """As it is now."""
        state: JobState = self._client.run(self._client.core.job(self._which))
        return state

    def wait(
        self,
        progress: Callable[[JobState], object] | None = None,
        timeout: float | None = None,
        *,
        patience: float = PATIENCE,
    ) -> JobState:
        """Wait until it has ended, also over a restart of the server; as it is then.

        Args:
            progress: called whenever state or progress have changed.
            timeout: seconds; None: as long as it takes.
            patience: seconds without the server before it is given up; ``math.inf``: never.

        Raises:
            DeadlineExceeded: it had not ended; it goes on.
            ClientError: the server has been away for too long; the job may go on.
        """
        state: JobState = self._client.run(self._client.core.wait(self._which, progress, timeout, patience))
        return state

    def result(self, timeout: float | None = None, *, patience: float = PATIENCE) -> Any:  # noqa: ANN401 - by the task
        """Wait for the end, and give what the direct call would have given; of a training, its state.

        Raises:
            CallError: the job's own error, or that it was canceled.
            ClientError: the server has been away for ``patience`` seconds.
        """
        state = self.wait(timeout=timeout, patience=patience)
        if self.kind == "training":
            return state
        return self._client.run(self._client.core.result(self._which))

    def cancel(self) -> JobState:
        """Have it stopped; one that has ended stays as it is."""
        state: JobState = self._client.run(self._client.core.job(self._which, cancel=True))
        return state

    def logs(self, *, follow: bool = False, patience: float = PATIENCE) -> Iterator[str]:
        """What a training has printed, in pieces.

        Args:
            follow: until it has ended, over lost connections and restarts of the server.
            patience: seconds without the server before it is given up.

        Raises:
            ValueError: of a prediction, whose output is in the server's log.
        """
        if not follow:
            core = self._client.core
            yield core.services.text(self._client.run(core.written(self._which, "logs")))
            return
        with contextlib.closing(self.follow("logs", patience=patience)) as events:
            for event in events:
                if event.kind == "log":
                    yield event.data["text"]

    def metrics(self) -> list[dict[str, Any]]:
        """The numbers that a training has logged so far, each with ``at``, the time."""
        core = self._client.core
        return core.services.numbers(self._client.run(core.written(self._which, "metrics")))

    def follow(self, what: What = "metrics", *, patience: float = PATIENCE) -> Generator[JobEvent, None, None]:
        """What a training tells as it happens, from its beginning until it has ended. Where the connection is lost, as
        at a restart of the server, that is told, too, and it goes on behind what was read.

        Args:
            what: beside the state: ``metrics``, the numbers that it logs, or ``logs``, what it prints.
            patience: seconds without the server before it is given up.

        Raises:
            ValueError: of a prediction, for which one waits.
            ClientError: it cannot be followed, or the server has been away for too long; the training may go on.
        """
        following = Following(self._client.core, self._which, what, patience)
        while not following.ended:
            failure: ClientError | None = None
            with contextlib.closing(self._client.events(self._client.run(following.begin()))) as events:
                try:
                    for event in events:
                        if (told := following.heard(event)) is not None:
                            yield told
                except LOST as lost:
                    failure = lost
            if not following.ended:
                told = following.lost(failure)
                if told is not None:
                    yield told
