"""Models by the Open Inference Protocol, over either transport."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from pillion.client.errors import InvalidInput
from pillion.client.exchange import Answer, GrpcCall, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.client.exchange import Operation
    from pillion.client.tensors import Array

__all__ = ["GRPC", "REST", "Infer", "Outputs", "Wire", "predict"]

_LENGTH: Final = "inference-header-content-length"


class Infer:
    """A call of a model.

    Args:
        model: its name.
        version: or alias; None is the one that answers.
        inputs: arrays by name, each with its datatype.
        outputs: names of those that are wanted; empty: those that the model gives by itself.
        parameters: of the protocol.
    """

    def __init__(
        self,
        model: str,
        version: str | None,
        inputs: Mapping[str, tuple[str, Array]],
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.inputs = inputs
        self.outputs = outputs
        self.parameters = dict(parameters or {})


class Outputs(dict[str, Any]):
    """Arrays by the names of the outputs, in their order.

    Attributes:
        model: that answered.
        version: of it.
        datatypes: of the protocol, by the same names.
    """

    def __init__(self, model: str, version: str) -> None:
        super().__init__()
        self.model = model
        self.version = version
        self.datatypes: dict[str, str] = {}

    def add(self, name: str, datatype: str, array: Array) -> None:
        """One more."""
        self[name] = array
        self.datatypes[name] = datatype


class Wire(Protocol):
    """The requests of the protocol, and what their answers mean."""

    def ready(self) -> Request | GrpcCall:
        """Whether the server is; a failure where not."""

    def is_ready(self, answer: Answer) -> bool:
        """What that answer says."""

    def metadata(self, model: str, version: str | None) -> Request | GrpcCall:
        """What a model takes and gives."""

    def described(self, answer: Answer) -> dict[str, Any]:
        """Name, versions, inputs and outputs."""

    def infer(self, call: Infer) -> Request | GrpcCall:
        """A call."""

    def outputs(self, answer: Answer) -> Outputs:
        """Its outputs."""


class REST:
    """Over HTTP, with the binary tensor extension both ways."""

    def ready(self) -> Request:
        """As :class:`Wire`."""
        return Request("GET", "/v2/health/ready", idempotent=True)

    def is_ready(self, answer: Answer) -> bool:
        """As :class:`Wire`."""
        return bool(answer.json().get("ready", True))

    def metadata(self, model: str, version: str | None) -> Request:
        """As :class:`Wire`."""
        return Request("GET", _path(model, version), idempotent=True)

    def described(self, answer: Answer) -> dict[str, Any]:
        """As :class:`Wire`."""
        told: dict[str, Any] = answer.json()
        return told

    def infer(self, call: Infer) -> Request:
        """As :class:`Wire`."""
        from pillion.client.tensors import raw  # noqa: PLC0415 - numpy only where arrays are

        inputs, pieces = [], []
        for name, (datatype, array) in call.inputs.items():
            data = raw(array, datatype)
            pieces.append(data)
            parameters = {"binary_data_size": len(data)}
            inputs.append({"name": name, "datatype": datatype, "shape": array.shape, "parameters": parameters})
        document: dict[str, Any] = {"inputs": inputs, "parameters": {**call.parameters, "binary_data_output": True}}
        if call.outputs:
            document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in call.outputs]
        head = json.dumps(document).encode()
        headers = {"content-type": "application/octet-stream", _LENGTH: str(len(head))}
        path = f"{_path(call.model, call.version)}/infer"
        return Request("POST", path, headers=headers, content=(head, *pieces), idempotent=True)

    def outputs(self, answer: Answer) -> Outputs:
        """As :class:`Wire`."""
        from pillion.client.tensors import parsed, shaped  # noqa: PLC0415 - as above

        length = int(answer.headers.get(_LENGTH, len(answer.body)))
        at = length
        body = memoryview(answer.body)
        told = json.loads(answer.body[:length])
        found = Outputs(told.get("model_name", ""), told.get("model_version") or "")
        for output in told["outputs"]:
            name, datatype, shape = output["name"], output["datatype"], output["shape"]
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                found.add(name, datatype, shaped(output["data"], datatype, shape))
                continue
            found.add(name, datatype, parsed(body[at : at + size], datatype, shape))
            at += size
        return found


class GRPC:
    """Over gRPC, with raw tensors both ways. Needs the extra ``serve``, for grpcio and protobuf.

    Raises:
        ImportError: those are not installed.
    """

    def __init__(self) -> None:
        try:
            import grpc  # noqa: F401, PLC0415 - only where a grpc:// URL is

            from pillion.protocol.protos import open_inference_pb2  # noqa: PLC0415 - as above
        except ImportError as error:
            told = f"grpc:// needs grpcio and protobuf ({error}): pip install 'pillion[serve]'"
            raise ImportError(told, name=error.name) from None
        self._pb = open_inference_pb2

    def ready(self) -> GrpcCall:
        """As :class:`Wire`."""
        return GrpcCall("ServerReady", self._pb.ServerReadyRequest(), self._pb.ServerReadyResponse)

    def is_ready(self, answer: Answer) -> bool:
        """As :class:`Wire`."""
        return bool(answer.live.ready)

    def metadata(self, model: str, version: str | None) -> GrpcCall:
        """As :class:`Wire`."""
        asked = self._pb.ModelMetadataRequest(name=model, version=version or "")
        return GrpcCall("ModelMetadata", asked, self._pb.ModelMetadataResponse)

    def described(self, answer: Answer) -> dict[str, Any]:
        """As :class:`Wire`."""
        told = answer.live
        tensors: Callable[[Any], list[dict[str, Any]]] = lambda specs: [  # noqa: E731 - twice, and no more than this
            {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs
        ]
        return {
            "name": told.name,
            "versions": list(told.versions),
            "platform": told.platform,
            "inputs": tensors(told.inputs),
            "outputs": tensors(told.outputs),
        }

    def infer(self, call: Infer) -> GrpcCall:
        """As :class:`Wire`."""
        from pillion.client.tensors import raw  # noqa: PLC0415 - numpy only where arrays are

        message = self._pb.ModelInferRequest(model_name=call.model, model_version=call.version or "")
        for name, (datatype, array) in call.inputs.items():
            message.inputs.add(name=name, datatype=datatype, shape=array.shape)
            message.raw_input_contents.append(bytes(raw(array, datatype)))
        for name in call.outputs:
            message.outputs.add(name=name)
        for name, value in call.parameters.items():
            kind = {bool: "bool_param", int: "int64_param", float: "double_param"}.get(type(value), "string_param")
            setattr(message.parameters[name], kind, value)
        return GrpcCall("ModelInfer", message, self._pb.ModelInferResponse)

    def outputs(self, answer: Answer) -> Outputs:
        """As :class:`Wire`."""
        from pillion.client.tensors import parsed, shaped  # noqa: PLC0415 - as above

        told = answer.live
        found = Outputs(told.model_name, told.model_version)
        for index, output in enumerate(told.outputs):
            if told.raw_output_contents:
                array = parsed(told.raw_output_contents[index], output.datatype, output.shape)
            else:
                filled = [list(values) for _, values in output.contents.ListFields()]
                array = shaped(filled[0] if filled else [], output.datatype, output.shape)
            found.add(output.name, output.datatype, array)
        return found


def predict(
    told: dict[str, Any],
    data: object,
    ask: Callable[[dict[str, Any]], Operation[Outputs]],
    describe: Callable[[], Operation[dict[str, Any]]],
) -> Operation[Outputs]:
    """A prediction by a model that may have been replaced since it told of itself.

    Args:
        told: its metadata, which are renewed where they are no longer right.
        data: rows, arrays by name, or a table.
        ask: the call of the inputs that the data makes.
        describe: asks for the metadata anew.

    Raises:
        ValueError: the data does not fit the model's inputs.
        CallError: the server says why.
    """
    from pillion.client.tensors import inputs_of  # noqa: PLC0415 - as above

    known = dict(told)
    if known:
        try:
            return (yield from ask(inputs_of(data, known["inputs"])))
        except (InvalidInput, ValueError):
            told.update((yield from describe()))
            if told["inputs"] == known["inputs"]:
                raise
    else:
        told.update((yield from describe()))
    return (yield from ask(inputs_of(data, told["inputs"])))


def _path(model: str, version: str | None) -> str:
    base = f"/v2/models/{quote(model, safe='')}"
    return base if version is None else f"{base}/versions/{quote(version, safe='')}"
