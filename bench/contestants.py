"""The servers of a comparison: each started, asked and checked the same way, whatever it speaks."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bench.models import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.process import Process
    from bench.serving import Serving

__all__ = ["LIMIT", "OURS", "Contestant", "by_grpc", "by_rest", "is_up", "post"]

OURS: Final = "Pillion"
LIMIT: Final = "limit"
"""The name of a comparison's yardstick."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server of one comparison. ``check`` raises unless the server answers right.

    Args:
        name: in the table.
        process: not running yet.
        target: URL, or ``host:port`` of gRPC.
        body: of the request that is sent over and over; of gRPC the serialised message.
        check: asks once and looks at the answer.
        headers: of the request.
        ready: whether it answers already; by default whether the check passes.
    """

    name: str
    process: Process
    target: str
    body: bytes
    check: Callable[[], None]
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    ready: Callable[[], bool] | None = None

    def is_ready(self) -> bool:
        """Whether it answers now. A wrong answer of one that has begun to answer is for :attr:`check` to tell."""
        if self.ready is not None:
            return self.ready()
        try:
            self.check()
        except (OSError, urllib.error.URLError):
            return False
        return True


def is_up(url: str) -> bool:
    """Whether a GET is answered 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of an answer.

    Raises:
        OSError: nobody answers, or with an error.
    """
    request = urllib.request.Request(url, body, dict(headers))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(answer.headers), answer.read()


def by_rest(name: str, serving: Serving, ready: str | None = None) -> Contestant:
    """One that answers the class of a flower over HTTP; ``ready`` is a path that is 200 when it does."""
    headers = {"Content-Type": "application/json"}

    def check() -> None:
        _, body = post(serving.url, serving.body, headers)
        classes = serving.classes(json.loads(body))
        if classes != [EXPECTED]:
            raise ValueError(f"{name} answered {classes}, not {[EXPECTED]}: no ratio is worth printing")

    up = None if ready is None else lambda: is_up(f"http://{serving.http}{ready}")
    return Contestant(name, serving.process, serving.url, serving.body, check, headers, up)


def by_grpc(name: str, process: Process, address: str) -> Contestant:
    """One that answers the class of a flower by ModelInfer."""
    from bench.grpc_client import check, is_ready, request_bytes

    return Contestant(
        name, process, address, request_bytes(), lambda: check(address), {}, lambda: is_ready(address)
    )  # fmt: skip
