"""The protocol over gRPC, and the two services that clients of any gRPC server look for: health and reflection.

The modules of gRPC are imported in the checks: without a gRPC address they are skipped, and nothing of it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.probe import UNKNOWN, same_values, values_of
from pillion.conformance.registry import MUST, OPTIONAL, SHOULD, Registry
from pillion.conformance.samples import RAW_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.conformance.model import Level
    from pillion.conformance.probe import Probe
    from pillion.conformance.wire import Grpc, GrpcAnswer

REGISTRY: Final = Registry("inference_grpc.md")
_HEALTH: Final = "gRPC health checking protocol (grpc.health.v1): Check"
_REFLECTION: Final = "gRPC server reflection protocol (grpc.reflection.v1, v1alpha): list_services"


def check(
    name: str,
    level: Level,
    sentence: str,
    section: str,
    *,
    per_model: bool = True,
) -> Callable[[Callable[[Probe, Grpc], None]], Callable[[Probe, Grpc], None]]:
    """A check that is skipped where no gRPC address was given."""

    def add(run: Callable[[Probe, Grpc], None]) -> Callable[[Probe, Grpc], None]:
        def remote(probe: Probe) -> None:
            if probe.grpc is None:
                raise Skipped("no gRPC address was given (--grpc)")
            run(probe, probe.grpc)

        REGISTRY.add(name, level, sentence, section, remote, per_model=per_model)
        return run

    return add


def _code(answer: GrpcAnswer, *codes: str) -> None:
    if answer.code not in codes:
        raise Violation(" or ".join(codes), str(answer))


def _request(probe: Probe, *, typed: bool = False, **members: Any) -> Any:  # noqa: ANN401 - a generated message
    from pillion.conformance.wire import infer_request

    samples = probe.samples()
    if typed and any(sample.datatype in RAW_ONLY for sample in samples):
        raise Skipped("an input is FP16 or BF16, which has no typed contents")
    return infer_request(probe.model, samples, typed=typed, **members)


@check("grpc.server-live", MUST, "ServerLive is answered OK and live.", "Server Live", per_model=False)
def live(_: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    if not grpc.call("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).ok().live:
        raise Violation("live: true", "false")


@check("grpc.server-ready", MUST, "ServerReady says what GET v2/health/ready says.", "Server Ready", per_model=False)
def ready(probe: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    expected = probe.rest.get("/v2/health/ready").status == 200
    said = grpc.call("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ok().ready
    if said is not expected:
        raise Violation(f"ready: {expected}, as over REST", str(said))


@check("grpc.model-ready", MUST, "ModelReady is answered OK and ready for a loaded model.", "Model Ready")
def model_ready(probe: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    if not grpc.call("ModelReady", pb.ModelReadyRequest(name=probe.model), pb.ModelReadyResponse).ok().ready:
        raise Violation("ready: true", "false")


@check(
    "grpc.model-ready-unknown", MUST, "ModelReady of an unknown model is an error, or not ready.", "Model Ready",
    per_model=False,
)  # fmt: skip
def model_ready_unknown(_: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    answer = grpc.call("ModelReady", pb.ModelReadyRequest(name=UNKNOWN), pb.ModelReadyResponse)
    if answer.code == "OK" and answer.message.ready:
        raise Violation("an error, or ready: false", str(answer))


@check("grpc.server-metadata", MUST, "ServerMetadata says what GET v2 says.", "Server Metadata", per_model=False)
def server_metadata(probe: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    expected = probe.rest.get("/v2").object()
    said = grpc.call("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse).ok()
    got = {"name": said.name, "version": said.version, "extensions": list(said.extensions)}
    wanted = {member: expected.get(member) for member in got}
    if got != wanted:
        raise Violation(str(wanted), str(got))


@check("grpc.model-metadata", MUST, "ModelMetadata says what GET v2/models/MODEL says.", "Model Metadata")
def model_metadata(probe: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    expected = probe.metadata()
    said = grpc.call("ModelMetadata", pb.ModelMetadataRequest(name=probe.model), pb.ModelMetadataResponse).ok()
    if said.name != probe.model:
        raise Violation(f"name {probe.model!r}", repr(said.name))
    for member in ("inputs", "outputs"):
        wanted = [(t.get("name"), t.get("datatype"), t.get("shape")) for t in expected.get(member) or []]
        got = [(t.name, t.datatype, list(t.shape)) for t in getattr(said, member)]
        if got != wanted:
            raise Violation(f"{member} {wanted}, as over REST", str(got))


@check(
    "grpc.model-metadata-unknown", SHOULD, "ModelMetadata of an unknown model is NOT_FOUND.",
    "google.rpc.Code: NOT_FOUND", per_model=False,
)  # fmt: skip
def metadata_unknown(_: Probe, grpc: Grpc) -> None:
    from pillion.conformance.wire import pb

    _code(grpc.call("ModelMetadata", pb.ModelMetadataRequest(name=UNKNOWN), pb.ModelMetadataResponse), "NOT_FOUND")


@check("grpc.infer-typed", MUST, "ModelInfer with typed contents is answered OK, sizes right.", "Inference")
def typed(probe: Probe, grpc: Grpc) -> None:
    _outputs(grpc.infer(_request(probe, typed=True)).ok())


@check("grpc.infer-raw", MUST, "ModelInfer with raw_input_contents means the same.", "Inference")
def raw(probe: Probe, grpc: Grpc) -> None:
    got = _outputs(grpc.infer(_request(probe)).ok())
    if not any(sample.datatype in RAW_ONLY for sample in probe.samples()):
        _same(_outputs(grpc.infer(_request(probe, typed=True)).ok()), got)


@check("grpc.infer-as-rest", MUST, "gRPC follows the concepts of REST: the same request has the same outputs.", "gRPC")
def as_rest(probe: Probe, grpc: Grpc) -> None:
    outputs = probe.outputs(probe.request())
    expected = [(str(o.get("name")), o.get("shape"), values_of(o)) for o in outputs]
    _same(expected, _outputs(grpc.infer(_request(probe)).ok()))


@check("grpc.id", MUST, "The id of a request is returned.", "ModelInferRequest, id")
def identity(probe: Probe, grpc: Grpc) -> None:
    answer = grpc.infer(_request(probe, id="request-43")).ok()
    if answer.id != "request-43" or answer.model_name != probe.model:
        raise Violation(f"id 'request-43', model_name {probe.model!r}", f"{answer.id!r}, {answer.model_name!r}")


@check("grpc.outputs-chosen", MUST, "Where outputs are named, these are returned.", "ModelInferRequest, outputs")
def chosen(probe: Probe, grpc: Grpc) -> None:
    every = [name for name, _, _ in _outputs(grpc.infer(_request(probe)).ok())]
    for name in every:
        request = _request(probe)
        request.outputs.add(name=name)
        got = [each for each, _, _ in _outputs(grpc.infer(request).ok())]
        if got != [name]:
            raise Violation(str([name]), str(got))


@check("grpc.unknown-model", MUST, "An unknown model is an error.", "Inference: code other than OK")
def unknown_model(probe: Probe, grpc: Grpc) -> None:
    request = _request(probe)
    request.model_name = UNKNOWN
    if grpc.infer(request).code == "OK":
        raise Violation("a code that is not OK", str(grpc.last))


@check("grpc.unknown-model-code", SHOULD, "An unknown model is NOT_FOUND.", "google.rpc.Code: NOT_FOUND")
def unknown_model_code(probe: Probe, grpc: Grpc) -> None:
    request = _request(probe)
    request.model_name = UNKNOWN
    _code(grpc.infer(request), "NOT_FOUND")


@check("grpc.unknown-version", MUST, "A version that is not there is an error.", "ModelInferRequest, model_version")
def unknown_version(probe: Probe, grpc: Grpc) -> None:
    if grpc.infer(_request(probe, model_version="999999")).code == "OK":
        raise Violation("a code that is not OK", str(grpc.last))


_BAD: Final = "google.rpc.Code: INVALID_ARGUMENT"


def _refused(grpc: Grpc, request: Any) -> None:  # noqa: ANN401 - a generated message
    if grpc.infer(request).code == "OK":
        raise Violation("a code that is not OK", str(grpc.last))


def _raw_short(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe)
    request.raw_input_contents[0] = request.raw_input_contents[0][:-1]
    return request


def _raw_and_typed(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe, typed=True)
    request.raw_input_contents.extend(_request(probe).raw_input_contents)
    return request


def _raw_missing(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe)
    request.inputs.add().CopyFrom(request.inputs[0])
    return request


def _no_inputs(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe)
    del request.inputs[:]
    del request.raw_input_contents[:]
    return request


def _typed_short(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe, typed=True)
    request.inputs[0].shape[0] += 1
    return request


def _unknown_datatype(probe: Probe) -> Any:  # noqa: ANN401 - a generated message
    request = _request(probe)
    request.inputs[0].datatype = "FP99"
    return request


for _id, _what, _section, _make in (
    ("raw-short", "whose raw contents are a byte short", "ModelInferRequest, raw_input_contents", _raw_short),
    ("raw-and-typed", "with raw and typed contents", "ModelInferRequest, raw_input_contents", _raw_and_typed),
    ("raw-missing", "with fewer raw contents than inputs", "ModelInferRequest, raw_input_contents", _raw_missing),
    ("no-inputs", "without inputs", "ModelInferRequest, inputs", _no_inputs),
    ("typed-short", "with fewer elements than its shape", "InferTensorContents", _typed_short),
    ("unknown-datatype", "with a datatype that there is not", "Tensor Data Types", _unknown_datatype),
):

    def _must(probe: Probe, grpc: Grpc, make: Callable[[Probe], Any] = _make) -> None:
        _refused(grpc, make(probe))

    def _should(probe: Probe, grpc: Grpc, make: Callable[[Probe], Any] = _make) -> None:
        _code(grpc.infer(make(probe)), "INVALID_ARGUMENT")

    check(f"grpc.{_id}", MUST, f"A request {_what} is an error.", _section)(_must)
    check(f"grpc.{_id}-code", SHOULD, f"A request {_what} is INVALID_ARGUMENT.", _BAD)(_should)


@check("grpc_health.server", SHOULD, "The health service says SERVING for the server.", _HEALTH, per_model=False)
def health(_: Probe, grpc: Grpc) -> None:
    from grpc_health.v1 import health_pb2

    answer = _health(grpc, "")
    if answer.ok().status != health_pb2.HealthCheckResponse.SERVING:
        raise Violation("SERVING", str(answer))


@check(
    "grpc_health.unknown", SHOULD, "The health service says NOT_FOUND for a service it does not know.", _HEALTH,
    per_model=False,
)  # fmt: skip
def health_unknown(_: Probe, grpc: Grpc) -> None:
    _code(_health(grpc, UNKNOWN), "NOT_FOUND")


def _health(grpc: Grpc, service: str) -> GrpcAnswer:
    from grpc_health.v1 import health_pb2

    request = health_pb2.HealthCheckRequest(service=service)
    return grpc.call("Check", request, health_pb2.HealthCheckResponse, "/grpc.health.v1.Health")


@check(
    "grpc_reflection.lists", OPTIONAL, "Server reflection lists inference.GRPCInferenceService.", _REFLECTION,
    per_model=False,
)  # fmt: skip
def reflection(_: Probe, grpc: Grpc) -> None:
    from grpc_reflection.v1alpha import reflection_pb2 as rpb

    for version in ("v1", "v1alpha"):  # the same messages under both names
        answer = grpc.first_of_stream(
            "ServerReflectionInfo", rpb.ServerReflectionRequest(list_services=""), rpb.ServerReflectionResponse,
            f"/grpc.reflection.{version}.ServerReflection",
        )  # fmt: skip
        if answer.code == "OK" and answer.message is not None:
            names = {service.name for service in answer.message.list_services_response.service}
            if "inference.GRPCInferenceService" not in names:
                raise Violation("inference.GRPCInferenceService", str(sorted(names)))
            return
    raise Violation("an answer in one of its versions", str(grpc.last))


def _outputs(response: Any) -> list[tuple[str, list[int], list[Any]]]:  # noqa: ANN401 - a generated message
    from pillion.conformance.wire import values

    return values(response)


def _same(expected: list[Any], got: list[Any]) -> None:
    if [name for name, _, _ in expected] != [name for name, _, _ in got]:
        raise Violation(str([name for name, _, _ in expected]), str([name for name, _, _ in got]))
    for (name, shape, values), (_, other_shape, others) in zip(expected, got, strict=True):
        if shape != other_shape or not same_values(values, others):
            raise Violation(f"{name!r}: {str(values)[:150]} of shape {shape}", f"{str(others)[:150]}, {other_shape}")
