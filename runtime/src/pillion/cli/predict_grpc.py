"""A prediction over gRPC, by the Open Inference Protocol."""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any, Final

import grpc
import numpy as np

from pillion.cli.failures import CommandError
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.tensors import Datatype, dtype_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["call"]

_SERVICE: Final = "/inference.GRPCInferenceService"


def call(
    model: str,
    body: object,
    target: str,
    *,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    timeout: float,
    server_name: str | None = None,
) -> dict[str, object]:
    """Ask for the model's inputs, send the rows as raw tensors, give the outputs. ``server_name`` is whose certificate
    to expect where that is not the target's host, as through a forwarded port.

    Raises:
        CommandError: the server cannot be reached, answers with an error, or the rows do not fit the inputs.
    """
    rows = body.get("instances") if isinstance(body, dict) else body
    if not isinstance(rows, list) or not rows:
        raise CommandError("--data: with --grpc give a list of rows", code=2)
    secure = ca is not None or target.startswith(("https://", "grpcs://"))
    address = target.rpartition("://")[2]
    with _channel(address, server_name, _credentials(ca, cert, key) if secure else None) as channel:
        try:
            metadata = _unary(channel, "ModelMetadata", pb.ModelMetadataResponse)(
                pb.ModelMetadataRequest(name=model), timeout=timeout
            )
            request = pb.ModelInferRequest(model_name=model)
            for position, spec in enumerate(metadata.inputs):
                values = _values_of(rows, spec.name, None if len(metadata.inputs) == 1 else position)
                data = _column(values, spec.name, spec.datatype, list(spec.shape))
                request.inputs.add(name=spec.name, datatype=spec.datatype, shape=data.shape)
                request.raw_input_contents.append(_raw(data, spec.datatype))
            response = _unary(channel, "ModelInfer", pb.ModelInferResponse)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise CommandError(f"{error.code().name}: {error.details()}") from None
    outputs = [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
            "data": _values(output, response.raw_output_contents[index] if response.raw_output_contents else None),
        }
        for index, output in enumerate(response.outputs)
    ]
    answer: dict[str, object] = {"model_name": response.model_name, "model_version": response.model_version}
    answer["outputs"] = outputs
    if len(outputs) == 1:
        answer["predictions"] = outputs[0]["data"]
    return answer


def _channel(address: str, server_name: str | None, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options: list[tuple[str, str | int]] = []
    if address.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        options.append(("grpc.enable_http_proxy", 0))  # a proxy leads out of this machine
    if credentials is None:
        return grpc.insecure_channel(address, options)
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.secure_channel(address, credentials, options)


def _unary(channel: grpc.Channel, method: str, answer: Any) -> Any:  # noqa: ANN401 - generated classes are untyped here
    api_key = os.environ.get("PILLION_API_KEY")
    metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
    called: Any = channel.unary_unary(
        f"{_SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return functools.partial(called, metadata=metadata)


def _credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    read = [None if path is None else path.read_bytes() for path in (ca, key, cert)]
    credentials: grpc.ChannelCredentials = grpc.ssl_channel_credentials(*read)
    return credentials


def _values_of(rows: list[Any], name: str, position: int | None) -> list[Any]:
    """The rows' values for one input: by its name in objects, by its position in lists.

    Args:
        rows: as given.
        name: of the input.
        position: of the input among several; None where it is the only one, to which whole rows belong.
    """
    try:
        if isinstance(rows[0], dict):
            return [row[name] for row in rows]
        return rows if position is None else [row[position] for row in rows]
    except (KeyError, TypeError, IndexError) as error:
        raise CommandError(f"--data has no value for the input {name} in each row: {error}", code=2) from None


def _column(values: list[Any], name: str, datatype: str, shape: list[int]) -> np.ndarray[Any, np.dtype[Any]]:
    """An array of the input's datatype. null is a missing value: NaN, and for text an empty one."""
    dtype = dtype_of(Datatype(datatype))
    try:
        data = np.asarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise CommandError(f"--data does not fit the input {name} ({datatype} {shape}): {error}", code=2) from None
    return data.reshape(-1, 1) if len(shape) == 2 and data.ndim == 1 else data


def _raw(data: np.ndarray[Any, np.dtype[Any]], datatype: str) -> bytes:
    if datatype != Datatype.BYTES:
        return data.tobytes()
    pieces = [str("" if item is None else item).encode() for item in data.ravel()]
    return b"".join(len(piece).to_bytes(4, "little") + piece for piece in pieces)


def _values(output: Any, raw: bytes | None) -> list[Any]:  # noqa: ANN401 - as above
    if raw is None:
        filled = [value for _, value in output.contents.ListFields()]
        return [json.loads(json.dumps(v, default=bytes.decode)) for v in filled[0]] if filled else []
    if output.datatype == Datatype.BYTES:
        values, at = [], 0
        while at < len(raw):
            size = int.from_bytes(raw[at : at + 4], "little")
            values.append(raw[at + 4 : at + 4 + size].decode(errors="replace"))
            at += 4 + size
        return values
    data = np.frombuffer(raw, dtype=dtype_of(Datatype(output.datatype)))
    shaped: list[Any] = data.reshape(list(output.shape)).tolist()
    return shaped
