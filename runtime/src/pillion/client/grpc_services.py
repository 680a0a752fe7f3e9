"""Jobs, trainings and models of a server over gRPC: the services of ``pillion.runtime``. See :mod:`.services`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format, struct_pb2

from pillion.client.errors import ConnectionLost, InvalidInput
from pillion.client.events import Event
from pillion.client.exchange import Answer, GrpcCall
from pillion.client.services import ENDED, JobPage, Which
from pillion.client.uploads import Upload
from pillion.client.values import encoded, jsonable, value_of
from pillion.protocol.extensions import EXACT_TRAININGS
from pillion.protocol.protos import open_inference_pb2 as oip
from pillion.protocol.protos import runtime_pb2 as pb
from pillion.protocol.task_message import from_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from google.protobuf.message import Message

    from pillion.client.following import What
    from pillion.client.management import Deployment
    from pillion.client.services import JobState, Progress, Wanted

__all__ = ["GrpcServices", "event_of"]

_JOBS: Final = "pillion.runtime.JobService"
_TRAININGS: Final = "pillion.runtime.TrainingManagement"
_INFO: Final = "pillion.runtime.InfoService"
_MODELS: Final = "pillion.runtime.ModelManagement"
_PIECE: Final = 1 << 20
_LARGEST_EXACT: Final = 2**53
_WHAT: Final[Mapping[What, pb.FollowTrainingRequest.What.ValueType]] = {
    "logs": pb.FollowTrainingRequest.LOGS,
    "metrics": pb.FollowTrainingRequest.METRICS,
}
_NOT_YET: Final = ("start_timestamp", "completion_timestamp", "progress")


class GrpcServices:
    """See :class:`~pillion.client.services.Services`."""

    describes_tasks = False

    def submit(
        self, task: str, model: str | None, arguments: Mapping[str, object], *, key: str, priority: int | None
    ) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        body: dict[str, object] = {"parameters": dict(arguments)}
        body |= {} if model is None else {"model_id": model}
        message = pb.SubmitJobRequest(task=task, body=encoded(body), priority=priority or 0)
        return GrpcCall("SubmitJob", message, pb.Job, service=_JOBS, headers={"idempotency-key": key})

    def train(self, training: str, body: Mapping[str, Any], key: str) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        message = pb.StartTrainingRequest(
            training=training,
            model_name=body["model_name"],
            deploy=bool(body.get("deploy")),
            output_path=body.get("output_path", ""),
        )
        parameters = jsonable(dict(body["parameters"]))
        if _fits_doubles(parameters):
            json_format.ParseDict(parameters, message.parameters)
        else:
            message.parameters_json = encoded(parameters).decode()
        return GrpcCall("StartTraining", message, pb.Job, service=_TRAININGS, headers={"idempotency-key": key})

    def before(self, begun: Any) -> GrpcCall | None:  # noqa: ANN401 - a call of :meth:`train`
        """See :class:`~pillion.client.services.Services`. Servers of before ``parameters_json`` leave it out."""
        if not begun.message.parameters_json:
            return None
        return GrpcCall("ServerMetadata", oip.ServerMetadataRequest(), oip.ServerMetadataResponse)

    def require(self, answer: Answer) -> None:
        """See :class:`~pillion.client.services.Services`."""
        told = answer.live
        if EXACT_TRAININGS not in told.extensions:
            raise InvalidInput(
                400,
                f"parameters: whole numbers of 2^53 and more cannot be sent over gRPC to this server ({told.name} "
                f"{told.version}), which would leave all parameters out: update it, or go by http://",
            )

    def job(self, which: Which, *, cancel: bool = False) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        if which.kind == "training":
            request = pb.TrainingRequest(training_id=which.id)
            name = "CancelTraining" if cancel else "GetTrainingStatus"
            return GrpcCall(name, request, pb.Job, service=_TRAININGS)
        return GrpcCall(
            "CancelJob" if cancel else "GetJob", pb.JobRequest(prediction_id=which.id), pb.Job, service=_JOBS
        )

    def state(self, answer: Answer) -> JobState:
        """See :class:`~pillion.client.services.Services`."""
        return _job(answer.live)

    def result(self, which: Which) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        request = pb.JobRequest(prediction_id=which.id)
        return GrpcCall("GetJobResult", request, pb.JobResult, service=_JOBS, collects=True)

    def value(self, answer: Answer) -> Any:  # noqa: ANN401 - by the task
        """See :class:`~pillion.client.services.Services`."""
        pieces: list[pb.JobResult] = answer.live
        if not pieces:
            raise ConnectionLost("the result ended before it began")
        headers = {"content-type": pieces[0].media_type, **pieces[0].headers}
        return value_of(Answer(headers, b"".join(piece.content for piece in pieces)))

    def find(self, identity: str) -> tuple[GrpcCall, ...]:
        """See :class:`~pillion.client.services.Services`."""
        return self.job(Which("prediction", identity)), self.job(Which("training", identity))

    def jobs(self, wanted: Wanted) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`.

        Raises:
            InvalidInput: there is no such state; not sent.
        """
        request = pb.ListJobsRequest(
            kind=wanted.kind, model_id=wanted.model, task=wanted.task, limit=wanted.limit, after=wanted.after
        )
        states = dict(pb.JobState.items()[1:])  # the first one means none
        for state in wanted.states:
            if state not in states:
                raise InvalidInput(400, f"state: {state} is none: choose of {', '.join(states)}")
            request.state.append(states[state])
        return GrpcCall("ListJobs", request, pb.JobPage, service=_JOBS)

    def page(self, answer: Answer) -> JobPage:
        """See :class:`~pillion.client.services.Services`."""
        return JobPage([_job(job) for job in answer.live.jobs], answer.live.next or None)

    def written(self, which: Which, what: What) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        request = pb.FollowTrainingRequest(training_id=which.id, what=_WHAT[what], stop_at_present=True)
        return GrpcCall("FollowTraining", request, pb.TrainingEvent, service=_TRAININGS, collects=True)

    def text(self, answer: Answer) -> str:
        """See :class:`~pillion.client.services.Services`."""
        return "".join(event.log for event in answer.live)

    def numbers(self, answer: Answer) -> list[dict[str, Any]]:
        """See :class:`~pillion.client.services.Services`."""
        return [_document(event.metrics) for event in answer.live if event.WhichOneof("what") == "metrics"]

    def follow(self, which: Which, what: What, behind: str) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        request = pb.FollowTrainingRequest(training_id=which.id, what=_WHAT[what], after=int(behind or 0))
        return GrpcCall("FollowTraining", request, pb.TrainingEvent, service=_TRAININGS, streams=True)

    def info(self, names: tuple[str, ...]) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        return GrpcCall("GetModelsInfo", pb.ModelsInfoRequest(model_ids=names), pb.ModelsInfo, service=_INFO)

    def infos(self, answer: Answer) -> list[dict[str, Any]]:
        """See :class:`~pillion.client.services.Services`."""
        return [_model(model) for model in answer.live.models]

    def models(self) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        return GrpcCall("RepositoryIndex", oip.RepositoryIndexRequest(), oip.RepositoryIndexResponse)

    def names(self, answer: Answer) -> list[str]:
        """See :class:`~pillion.client.services.Services`."""
        return list(dict.fromkeys(model.name for model in answer.live.models))

    def deploy(self, what: Deployment, progress: Progress | None) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`.

        Raises:
            FileNotFoundError: there are no such files.
            ValueError: a digest of files that are sent.
        """
        if what.source is None or what.uri is not None:
            request = pb.DeployModelRequest(
                model_id=what.name, storage_uri=what.uri, version=what.version, digest=what.digest, format=what.format
            )
            if what.metadata:
                _fill(request.metadata, what.metadata)
            return GrpcCall("DeployModel", request, pb.ModelInfo, service=_MODELS, idempotent=False)
        if what.digest:
            raise ValueError("digest: it is of what a storage URI names; files that are sent are read here")
        begin = pb.UploadBegin(model_id=what.name, format=what.format)
        if what.metadata:
            _fill(begin.metadata, what.metadata)
        files = what.files()
        upload = Upload(progress, sum(path.stat().st_size for _, path in files))
        messages = functools.partial(_uploaded, begin, files)
        return GrpcCall(
            "UploadModel", messages, pb.ModelInfo, service=_MODELS, idempotent=False, uploads=True, upload=upload
        )

    def undeploy(self, name: str, *, purge: bool) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        request = pb.UndeployModelRequest(model_id=name, purge=purge)
        return GrpcCall("UndeployModel", request, pb.UndeployModelResponse, service=_MODELS)

    def reconfigure(self, name: str, config: Mapping[str, object], version: str | None) -> GrpcCall:
        """See :class:`~pillion.client.services.Services`."""
        request = pb.ReconfigureModelRequest(model_id=name, version=version or "", config=encoded(config).decode())
        return GrpcCall("ReconfigureModel", request, pb.ReconfiguredModel, service=_MODELS)

    def told(self, answer: Answer) -> dict[str, Any]:
        """See :class:`~pillion.client.services.Services`."""
        message = answer.live
        return _model(message) if isinstance(message, pb.ModelInfo) else _document(message)


def event_of(event: pb.TrainingEvent) -> Event:
    """What a followed training tells, as the events over HTTP have it."""
    place = str(event.place) if event.place else ""
    match event.WhichOneof("what"):
        case "log":
            return Event("log", {"text": event.log}, place)
        case "metrics":
            return Event("metrics", _document(event.metrics), place)
    job = _job(event.job)
    return Event("end" if job["state"] in ENDED else "job", job)


def _job(job: pb.Job) -> JobState:
    document = _document(job)
    other = ("prediction_id", "model_id") if job.training_id else ("training_id", "model_name")
    for name in (*other, *(() if job.details else ("details",))):
        del document[name]
    return dict.fromkeys(_NOT_YET) | document


def _uploaded(begin: pb.UploadBegin, files: list[tuple[str, Path]]) -> Iterator[pb.UploadModelRequest]:
    """The messages of an upload; files are read as they are sent."""
    yield pb.UploadModelRequest(begin=begin)
    for name, path in files:
        with path.open("rb") as content:
            yield pb.UploadModelRequest(file=pb.UploadFile(filename=name, size=path.stat().st_size))
            while piece := content.read(_PIECE):
                yield pb.UploadModelRequest(data=piece)


def _fill(struct: Message, value: Mapping[str, object]) -> None:
    """Set a ``Struct``, whose numbers are floats.

    Raises:
        ValueError: a whole number would become another one.
    """
    plain = jsonable(dict(value))
    for name, one in plain.items():
        _check_exact(one, name)
    json_format.ParseDict(plain, struct)


def _check_exact(value: Any, place: str) -> None:  # noqa: ANN401 - JSON
    match value:
        case int() if abs(value) > _LARGEST_EXACT:
            raise ValueError(
                f"{place}: {value} is more than gRPC carries exactly here (2**53): send it over http(s)://"
            )
        case list():
            for index, one in enumerate(value):
                _check_exact(one, f"{place}[{index}]")
        case dict():
            for key, one in value.items():
                _check_exact(one, f"{place}.{key}")


def _fits_doubles(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether no whole number is one that a server would have to take for rounded."""
    match value:
        case int():
            return abs(value) < _LARGEST_EXACT
        case list():
            return all(map(_fits_doubles, value))
        case dict():
            return all(map(_fits_doubles, value.values()))
        case _:
            return True


def _document(message: Message) -> dict[str, Any]:
    """A message as its twin over HTTP."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _model(info: pb.ModelInfo) -> dict[str, Any]:
    told = {name: from_value(struct_pb2.Value(struct_value=getattr(info, name))) for name in _STRUCTS}
    return _document(info) | told | {"size": info.size}  # whole numbers, which protobuf's JSON has as texts and floats


_STRUCTS: Final = ("metadata", "module_metadata")
