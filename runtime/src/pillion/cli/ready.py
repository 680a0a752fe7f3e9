"""What ``pillion serve`` prints when its models are loaded: addresses, and a call to paste."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Final

from pillion.dataplane.call import ModelState
from pillion.tensors import Datatype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.tasks import ServedTask
    from pillion.runtimefile import DesiredModel
    from pillion.server import Server
    from pillion.server.settings import Settings
    from pillion.tensors import TensorSpec

__all__ = ["announcement", "curl", "failures", "ready_text"]

_WIDEST: Final = 64
"""Columns up to which an example row is shown."""


def failures(statuses: Sequence[ModelStatus]) -> list[str]:
    """A sentence for each model that is not ready."""
    return [
        f"{s.name}: {s.reason or s.state.value.lower()}"
        for s in statuses
        if not (s.state is ModelState.READY or s.asleep)
    ]


def ready_text(
    server: Server,
    settings: Settings,
    seconds: float,
    ca: Path | None,
    models: Sequence[DesiredModel],
    *,
    as_json: bool,
) -> str:
    """What the command prints when the models are loaded: lines for people, or one JSON object."""
    if as_json:
        names = [*(status.name for status in server.statuses()), *server.application_routes().values()]
        return json.dumps({"ready": names, "seconds": round(seconds, 3), "ports": server.ports})
    from pillion.cli.examples import examples  # noqa: PLC0415 - programs need none

    bodies, refused = examples(models)
    return "\n".join([announcement(server, settings, seconds, ca, bodies), *refused])


def announcement(
    server: Server,
    settings: Settings,
    seconds: float,
    ca: Path | None,
    examples: Mapping[str, dict[str, object]] | None = None,
) -> str:
    """The lines for people; ``ca`` is the certificate that curl has to trust, ``examples`` are bodies by model."""
    ports = server.ports
    host = "127.0.0.1" if settings.http.host in ("0.0.0.0", "::") else settings.http.host  # noqa: S104 - any address includes loopback
    host = f"[{host}]" if ":" in host else host
    scheme = "http" if settings.tls.server.cert is None else "https"
    base = f"{scheme}://{host}:{ports['http']}"
    ready = [status for status in server.statuses() if status.state is ModelState.READY]
    routes = server.application_routes()
    loaded = [status.name for status in server.statuses() if status in ready or status.asleep]
    names = ", ".join([*loaded, *routes.values()]) or "no model yet,"
    lines = [f"{names} ready in {seconds:.1f} s   docs {base}/docs   grpc :{ports['grpc']}   metrics :{ports['admin']}"]
    # curl needs no scheme for http; leaving it out keeps the line short.
    address = base if scheme == "https" else base.removeprefix("http://")
    lines += [f"application {name}: {base}{prefix}" for prefix, name in routes.items()]
    mutual, keyed = settings.tls.client.cert is not None, settings.auth.api_key is not None
    given = examples or {}
    lines += [f"try: {task_curl(task, address, ca, mutual=mutual, keyed=keyed)}" for task in server.tasks()]
    calls = text_calls(*server.text_models())
    lines += [f"try: {_curl(body, address + path, ca, mutual=mutual, keyed=keyed)}" for path, body in calls]
    with_tensors = [status for status in ready if status.metadata is not None and status.metadata.inputs]
    lines += [
        f"try: {curl(status, address, ca, mutual=mutual, keyed=keyed, example=given.get(status.name))}"
        for status in with_tensors
    ]
    lines += [f"not ready: {failure}" for failure in failures(server.statuses())]
    return "\n".join(lines)


def curl(
    status: ModelStatus,
    base: str,
    ca: Path | None = None,
    *,
    mutual: bool = False,
    keyed: bool = False,
    example: dict[str, object] | None = None,
) -> str:
    """A command that the model answers: with the example, else its real input names, shapes, and zeros."""
    path, body = _body(status) if example is None else (_path(status.name, example), example)
    return _curl(body, f"{base}{path}", ca, mutual=mutual, keyed=keyed)


def task_curl(task: ServedTask, base: str, ca: Path | None = None, *, mutual: bool = False, keyed: bool = False) -> str:
    """A call of a task, with a small value for each parameter that has to be given."""
    from pillion.authoring.examples import example  # noqa: PLC0415 - only where tasks are

    signature = task.signature
    body = {p.name: example(p.type) for p in signature.parameters if p.required}
    return _curl(body, f"{base}/{signature.name}", ca, mutual=mutual, keyed=keyed)


def text_calls(
    generators: Mapping[str, Generator], embedders: Mapping[str, Embedder]
) -> list[tuple[str, dict[str, object]]]:
    """Path and body of a call of each model that generates or embeds."""
    calls: list[tuple[str, dict[str, object]]] = []
    for name, generator in generators.items():
        if generator.messages:
            messages = [{"role": "user", "content": "hello"}]
            calls.append(("/v1/chat/completions", {"model": name, "messages": messages}))
        else:
            calls.append(("/v1/completions", {"model": name, "prompt": "once upon a time"}))
    return calls + [("/v1/embeddings", {"model": name, "input": "a text"}) for name in embedders]


def _curl(body: dict[str, object], url: str, ca: Path | None, *, mutual: bool, keyed: bool) -> str:
    options = "" if ca is None else f"--cacert {shlex.quote(str(ca))} "
    options += "--cert CLIENT.crt --key CLIENT.key " if mutual else ""
    options += '-H "X-API-Key: $PILLION_API_KEY" ' if keyed else ""
    return f"curl {options}--json {shlex.quote(json.dumps(body, separators=(',', ':')))} {url}"


def _path(name: str, body: dict[str, object]) -> str:
    return f"/v1/models/{name}:predict" if "instances" in body else f"/v2/models/{name}/infer"


def _body(status: ModelStatus) -> tuple[str, dict[str, object]]:
    inputs = [] if status.metadata is None else [spec for spec in status.metadata.inputs if not spec.optional]
    columns = () if status.metadata is None else status.metadata.columns
    if 0 < len(columns) <= _WIDEST:
        return f"/v1/models/{status.name}:predict", {"instances": [{spec.name: _example(spec) for spec in columns}]}
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and 0 < inputs[0].shape[1] <= _WIDEST:
        row = [_example(inputs[0])] * inputs[0].shape[1]
        return f"/v1/models/{status.name}:predict", {"instances": [row]}
    if len(inputs) > 1 and all(len(spec.shape) == 2 and spec.shape[1] == 1 for spec in inputs):
        row_by_name = {spec.name: _example(spec) for spec in inputs}
        return f"/v1/models/{status.name}:predict", {"instances": [row_by_name]}
    tensors = []
    for spec in inputs:
        shape = [1 if size < 0 else size for size in spec.shape]
        count = 1
        for size in shape:
            count *= size
        data = [_example(spec)] * min(count, 64)
        tensors.append({"name": spec.name, "shape": shape, "datatype": spec.datatype.value, "data": data})
    return f"/v2/models/{status.name}/infer", {"inputs": tensors}


def _example(spec: TensorSpec) -> float | int | str | bool:
    datatype = spec.datatype
    if spec.example is not None:
        return spec.example
    if datatype is Datatype.BYTES:
        return "text"
    if datatype is Datatype.BOOL:
        return True
    return 0.0 if datatype.value.startswith(("FP", "BF")) else 0
