"""A prediction over gRPC, by the Open Inference Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.cli.failures import CommandError
from pillion.cli.predict_rest import KEYS
from pillion.cli.servers import asked

if TYPE_CHECKING:
    from pillion.cli.server_options import Certificates
    from pillion.client.inference import Outputs
    from pillion.client.tensors import Array

__all__ = ["call"]


def call(
    model: str, body: object, target: str, certificates: Certificates, *, timeout: float, server_name: str | None = None
) -> dict[str, object]:
    """Ask for the model's inputs, send the rows as raw tensors, give the outputs.

    Args:
        model: its name.
        body: rows: lists by the inputs' order, or objects by their names.
        target: the server, ``HOST:PORT`` or with a scheme.
        certificates: of the options.
        timeout: seconds.
        server_name: whose certificate to expect where that is not the target's host.

    Raises:
        CommandError: the server cannot be reached, answers with an error, or the rows do not fit the inputs.
    """
    rows = body.get("instances") if isinstance(body, dict) else body
    if not isinstance(rows, list) or not rows:
        raise CommandError("--data: with --grpc give a list of rows", code=2)
    url = _url(target, secure=certificates.given)
    with asked(url, certificates, timeout=timeout, keys=KEYS, server_name=server_name) as client:
        core = client.core
        told = client.run(core.metadata(model, None))
        names = [spec["name"] for spec in told["inputs"]]
        columns = {name: _values_of(rows, name, None if len(names) == 1 else at) for at, name in enumerate(names)}
        try:
            outputs: Outputs = client.run(core.predict(dict(told), model, None, columns, (), timeout))
        except ValueError as error:
            raise CommandError(f"--data does not fit the input {error}", code=2) from None
    return _document(outputs)


def _url(target: str, *, secure: bool) -> str:
    scheme, _, address = target.rpartition("://")
    if scheme == "unix":
        raise CommandError("--grpc goes to HOST:PORT; over a unix socket leave --grpc out", code=2)
    return f"{'grpcs' if secure or scheme in {'https', 'grpcs'} else 'grpc'}://{address}"


def _values_of(rows: list[Any], name: str, position: int | None) -> list[Any]:
    """The rows' values for one input: by its name in objects, by its position in lists.

    Args:
        rows: as given. null is a missing value: NaN, and for text an empty one.
        name: of the input.
        position: of the input among several; None where it is the only one, to which whole rows belong.
    """
    try:
        if isinstance(rows[0], dict):
            return [row[name] for row in rows]
        return rows if position is None else [row[position] for row in rows]
    except (KeyError, TypeError, IndexError) as error:
        raise CommandError(f"--data has no value for the input {name} in each row: {error}", code=2) from None


def _document(outputs: Outputs) -> dict[str, object]:
    """What the server would have answered over HTTP; of one output its values as ``predictions``, too."""
    told = [
        {"name": name, "datatype": outputs.datatypes[name], "shape": list(array.shape), "data": _values(array)}
        for name, array in outputs.items()
    ]
    answer: dict[str, object] = {"model_name": outputs.model, "model_version": outputs.version, "outputs": told}
    if len(told) == 1:
        answer["predictions"] = told[0]["data"]
    return answer


def _values(array: Array) -> list[Any]:
    if array.dtype == object:
        return [item.decode(errors="replace") if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    values: list[Any] = array.tolist()
    return values
