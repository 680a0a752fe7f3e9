"""Find out what the server has, then run every check on it: one after the other, within a bound of time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pillion.conformance.checks import all_checks
from pillion.conformance.exchange import Rest, shown
from pillion.conformance.model import Outcome, Report, Result, Skipped, Violation
from pillion.conformance.probe import Facts, Probe
from pillion.conformance.samples import Sample, flat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.conformance.model import Check
    from pillion.conformance.wire import Grpc

__all__ = ["MOST_MODELS", "Unreachable", "examine"]

MOST_MODELS: Final = 10
"""Models that are looked at where none is named."""


class Unreachable(Exception):  # noqa: N818 - a fact, not a fault of ours
    """Nobody answers there, or it cannot be told what to ask for."""


def examine(
    url: str,
    *,
    grpc: str | None = None,
    models: Sequence[str] = (),
    request: Mapping[str, Any] | None = None,
    extensions: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    ca: str | None = None,
    timeout: float = 10.0,
    seconds: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Run all checks.

    Args:
        url: of the server, without ``/v2``.
        grpc: ``host:port``, or None to leave those checks out.
        models: to look at; none: those that the server lists.
        request: a valid request in JSON, for a model whose metadata does not describe its inputs.
        extensions: to take as claimed.
        headers: to send with each request.
        ca: file of the certificate authority of an https URL.
        timeout: seconds for one request.
        seconds: for all of them; what is left then has the outcome ``NOT_RUN``.
        clock: for tests.

    Raises:
        Unreachable: with what to do about it.
    """
    began = clock()
    rest = Rest(url.rstrip("/").removesuffix("/v2"), timeout, headers or {}, ca)
    remote: Grpc | None = None
    try:
        facts, server = _find(rest, models, request, extensions)
        if grpc is not None:
            from pillion.conformance.wire import Grpc as Client  # noqa: PLC0415 - the base install has no gRPC

            remote = Client(grpc.rpartition("://")[2], timeout, [(k.lower(), v) for k, v in (headers or {}).items()])
            try:
                remote.connect()
            except TimeoutError as error:
                raise Unreachable(f"{error}: is --grpc right?") from None
        results = _run(rest, remote, facts, lambda: clock() - began > seconds)
    finally:
        rest.close()
        if remote is not None:
            remote.close()
    return Report(rest.base, grpc or "", server, facts.models, tuple(results), clock() - began)


def _run(rest: Rest, grpc: Grpc | None, facts: Facts, late: Callable[[], bool]) -> list[Result]:
    whole = Probe(rest, grpc, facts, facts.models[0] if facts.models else "")
    probes = [Probe(rest, grpc, facts, model) for model in facts.models]
    results = []
    for check in all_checks():
        if check.per_model and not probes:
            results.append(Result(check, Outcome.SKIPPED, reason="the server has no model"))
            continue
        for probe in probes if check.per_model else [whole]:
            name = probe.model if check.per_model else ""
            if late():
                results.append(Result(check, Outcome.NOT_RUN, name, reason="the time for all checks was over"))
                continue
            results.append(_one(check, probe, name))
    return results


def _one(check: Check, probe: Probe, model: str) -> Result:
    probe.rest.last = None
    if probe.grpc is not None:
        probe.grpc.last = None
    try:
        check.run(probe)
    except Skipped as skipped:
        return Result(check, Outcome.SKIPPED, model, reason=str(skipped))
    except Violation as violation:
        return _failed(check, probe, model, violation.expected, violation.got)
    except Exception as error:  # noqa: BLE001 - whatever a document of a strange server makes of our code is its failure
        return _failed(check, probe, model, "an answer that can be read", f"{type(error).__name__}: {error}")
    return Result(check, Outcome.PASSED, model)


def _failed(check: Check, probe: Probe, model: str, expected: str, got: str) -> Result:
    sent = came = ""
    if probe.grpc is not None and probe.grpc.last is not None:
        sent, came = probe.grpc.sent, str(probe.grpc.last)
    elif probe.rest.last is not None:
        sent, came = probe.rest.last.sent, str(probe.rest.last)
    return Result(check, Outcome.FAILED, model, "", shown(expected), shown(got), sent, came)


def _find(
    rest: Rest, models: Sequence[str], request: Mapping[str, Any] | None, extensions: Sequence[str]
) -> tuple[Facts, str]:
    """What to ask about, and what the server calls itself."""
    first = rest.get("/v2")
    if first.status == 0:
        why = first.body.decode(errors="replace")
        raise Unreachable(f"cannot reach {rest.base}: {why}: is the server running there, and is it its HTTP port?")
    document = first.object() if first.is_object() else {}
    claimed = document.get("extensions")
    known = {name for name in claimed if isinstance(name, str)} if isinstance(claimed, list) else set()
    listed = _listed(rest)
    chosen = list(models) or (listed or [])[:MOST_MODELS]
    if not chosen and listed is None:
        raise Unreachable(f"{rest.base} does not list its models: name one with --model")
    for model in models:
        if rest.get(f"/v2/models/{quote(model, safe='')}").status == 404:
            there = f" (it has {', '.join(listed)})" if listed else ""
            raise Unreachable(f"{rest.base} has no model {model!r}{there}")
    given = tuple(map(_given, request.get("inputs", []))) if request is not None else ()
    server = " ".join(str(document[member]) for member in ("name", "version") if member in document)
    return Facts(tuple(chosen), listed is not None, frozenset(known | set(extensions)), given), server


def _given(tensor: Mapping[str, Any]) -> Sample:
    shape = tuple(tensor["shape"])
    return Sample(tensor["name"], tensor["datatype"], shape, tuple(flat(tensor["data"])), (-1, *shape[1:]))


def _listed(rest: Rest) -> list[str] | None:
    """The models that the server lists, each once; None where it has no way to."""
    for answer in (rest.get("/v2/models"), rest.post("/v2/repository/index", {})):
        if answer.status != 200:
            continue
        try:
            document = answer.json()
        except Violation:
            continue
        entries = document.get("models") if isinstance(document, dict) else document
        if isinstance(entries, list):
            names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
            return list(dict.fromkeys(name for name in names if isinstance(name, str)))
    return None
