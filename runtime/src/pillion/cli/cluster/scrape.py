"""Reading the metrics of pods from this machine, each through a port-forward of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx

from pillion.cli.cluster.forwarding import forwarded
from pillion.cli.cluster.load import Reading, reading_of
from pillion.cli.cluster.objects import name_of, number_at, objects_at, text_at
from pillion.cli.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.cluster.objects import Object

__all__ = ["Twice", "admin_port", "metrics_of", "metrics_port", "readings"]

Twice: TypeAlias = tuple[Reading, Reading]
_AT_A_TIME: Final = 32
_TIMEOUT: Final = 10.0
_MOST_BYTES: Final = 8 * 1024 * 1024


def admin_port(pod: Object) -> int | None:
    """The port of the pod's runtime that shows metrics; None where the runtime is not ours."""
    return _port(pod, "admin")


def metrics_port(pod: Object) -> int | None:
    """The port of a runtime or an operator that shows metrics; None of others."""
    return admin_port(pod) or _port(pod, "http-metrics")


def _port(pod: Object, name: str) -> int | None:
    ports = (port for container in objects_at(pod, "spec", "containers") for port in objects_at(container, "ports"))
    return next((number_at(port, "containerPort") for port in ports if port.get("name") == name), None)


def readings(kubectl: Kubectl, pods: Sequence[Object], seconds: float) -> list[Twice | str]:
    """Of each pod, whatever its namespace, what it counts now and so many seconds later, or why it was not read."""
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return list(threads.map(lambda pod: _twice(kubectl, pod, seconds), pods))


def metrics_of(kubectl: Kubectl, pod: Object, port: int) -> str:
    """The text of the pod's metrics.

    Raises:
        CommandError: it could not be reached.
    """
    with _forwarded(kubectl, pod, port) as here:
        return _get(here)


def _forwarded(kubectl: Kubectl, pod: Object, port: int) -> AbstractContextManager[int]:
    own = replace(kubectl, namespace=text_at(pod, "metadata", "namespace"))
    return forwarded(own, f"pod/{name_of(pod)}", str(port))


def _twice(kubectl: Kubectl, pod: Object, seconds: float) -> Twice | str:
    if text_at(pod, "status", "phase") != "Running":
        return "it is not running"
    port = admin_port(pod)
    if port is None:
        return "its runtime is not Pillion's"
    try:
        with _forwarded(kubectl, pod, port) as here:
            before = reading_of(_get(here), time.monotonic())
            time.sleep(seconds)
            after = reading_of(_get(here), time.monotonic())
    except CommandError as error:
        return str(error)
    if before is None or after is None:
        return "what it answers are not the metrics of Pillion's runtime"
    return before, after


def _get(port: int) -> str:
    """The metrics behind a port of this machine; no proxy of the environment knows it.

    Raises:
        CommandError: nobody answered as they should.
    """
    read = bytearray()
    ends = time.monotonic() + _TIMEOUT
    try:
        with (
            httpx.Client(trust_env=False, timeout=_TIMEOUT) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                read += piece
                # A pod is whoever has the label: it may answer for ever.
                if len(read) > _MOST_BYTES or time.monotonic() > ends:
                    raise CommandError(
                        f"its metrics are more than {_MOST_BYTES} bytes, or did not come within {_TIMEOUT:g} s"
                    )
    except httpx.HTTPError as error:
        raise CommandError(f"its admin port does not answer: {str(error) or type(error).__name__}") from None
    return read.decode(errors="replace")
