"""Bad requests: each has to be an error with the protocol's body, and of the status that says whose fault it is.

Two sentences for each case, of one exchange: that it is refused with ``{"error": text}``, and with which status.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pillion.conformance.model import Level, Skipped, Violation
from pillion.conformance.probe import UNKNOWN, same_values, values_of
from pillion.conformance.registry import MUST, SHOULD, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.conformance.exchange import Answer
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("inference_rest.md")
check = REGISTRY.check
_ERROR_OBJECT: Final = "Inference Response JSON Error Object"
_HUGE: Final = 1 << 62
_DEEP: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Case:
    """One bad request.

    Args:
        id: the check's.
        what: what is wrong with it, to follow "A request ...".
        section: which sentence of the specification it breaks.
        body: makes it.
        statuses: that say whose fault it is.
        level: SHOULD where a lenient server may still make sense of it.
        headers: beside the content type.
    """

    id: str
    what: str
    section: str
    body: Callable[[Probe], object]
    statuses: tuple[int, ...] = (400,)
    level: Level = MUST
    headers: Mapping[str, str] | None = None


def _bytes(text: str) -> Callable[[Probe], object]:
    return lambda _: text.encode()


def _changed(**changes: Any) -> Callable[[Probe], object]:  # noqa: ANN401 - JSON
    """The valid request with members of an input changed; None leaves one out."""
    return lambda probe: probe.with_input(probe.an_input(), **changes)


def _one_less(probe: Probe) -> object:
    sample = probe.an_input()
    return probe.with_input(sample, data=list(sample.values[:-1]))


def _negative(probe: Probe) -> object:
    sample = probe.an_input()
    return probe.with_input(sample, shape=[-1, *sample.shape[1:]] if sample.shape else [-1])


def _wider(probe: Probe) -> object:
    """One column more than the model takes, consistent in itself."""
    sample = probe.an_input()
    if len(sample.declared) < 2 or sample.declared[-1] < 0:
        raise Skipped("no input whose last dimension is fixed")
    values = list(sample.values) + [sample.values[0]] * (len(sample.values) // sample.shape[-1])
    return probe.with_input(sample, shape=[*sample.shape[:-1], sample.shape[-1] + 1], data=values)


def _twice(probe: Probe) -> object:
    sample = probe.an_input()
    body = probe.request()
    body["inputs"].append(sample.document())
    return body


def _text(probe: Probe) -> object:
    return probe.with_input(probe.numeric(), data=["a"] * len(probe.numeric().values))


def _wrong_name(probe: Probe) -> object:
    if probe.facts.given or len(probe.samples()) < 2:
        raise Skipped("with one input its name decides nothing")
    return probe.with_input(probe.an_input(), name="no-such-input")


def _null(probe: Probe) -> object:
    sample = probe.an_input()
    body = probe.request()
    for each in body["inputs"]:
        if each["name"] == sample.name:
            each["data"] = None
    return body


_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_TEXT: Final = {"content-type": "text/plain"}
_CASES: Final = (
    _Case("no-json", "that is no JSON", "Inference", _bytes('{"inputs": [')),
    _Case("empty-body", "without a body", "Inference", _bytes("")),
    _Case("not-an-object", "whose JSON is a list", "Inference Request JSON Object", _bytes("[]")),
    _Case("deep-json", "nested a hundred thousand deep", "Inference", _bytes("[" * _DEEP)),
    _Case("no-inputs", "without inputs", "Inference Request JSON Object", _bytes("{}")),
    _Case("inputs-no-list", "whose inputs are a text", "Inference Request JSON Object", _bytes('{"inputs": "a"}')),
    _Case("empty-inputs", "with no input in the list", "Inference Request JSON Object", _bytes('{"inputs": []}')),
    _Case("no-name", "with an input without a name", "Request Input", _changed(name=None), level=SHOULD),
    _Case("no-datatype", "with an input without a datatype", "Request Input", _changed(datatype=None), level=SHOULD),
    _Case("no-shape", "with an input without a shape", "Request Input", _changed(shape=None), level=SHOULD),
    _Case("no-data", "with an input without data", "Request Input", _changed(data=None)),
    _Case("unknown-input", "with an input of another name", "Request Input", _wrong_name, level=SHOULD),
    _Case("input-twice", "with one input twice", "Request Input", _twice, level=SHOULD),
    _Case("unknown-datatype", "with a datatype that there is not", "Tensor Data Types", _changed(datatype="FP99")),
    _Case("data-short", "with one element less than its shape", "Tensor Data", _one_less),
    _Case("shape-negative", "with -1 in the shape of its data", "Request Input", _negative, level=SHOULD),
    _Case("shape-overflow", "whose shape has 2**64 elements", "Request Input", _changed(shape=[_HUGE, 4])),
    _Case("shape-not-the-models", "whose input has a column too many", "Metadata Response, shape", _wider),
    _Case("text-for-number", "with a text for a number", "Tensor Data", _text),
    _Case("null-data", "with null for its data", "Tensor Data", _null),
    _Case(
        "form", "sent as a form", "HTTP/REST uses JSON", lambda p: json.dumps(p.request()).encode(), (415, 400),
        SHOULD, _FORM,
    ),
    _Case(
        "plain-text", "sent as text/plain", "HTTP/REST uses JSON", lambda p: json.dumps(p.request()).encode(),
        (415, 400), SHOULD, _TEXT,
    ),
)  # fmt: skip


def _refused(answer: Answer) -> None:
    """Raise unless the answer is an error with the protocol's body."""
    if answer.status < 400:
        raise Violation("an error status", str(answer))
    if not answer.is_object() or not isinstance(answer.object().get("error"), str) or not answer.object()["error"]:
        raise Violation('{"error": text}', str(answer))


def _of_status(answer: Answer, statuses: tuple[int, ...]) -> None:
    if answer.status not in statuses:
        raise Violation(" or ".join(map(str, statuses)), str(answer))


def _add(case: _Case) -> None:
    def ask(probe: Probe) -> Answer:
        return probe.once(case.id, case.body(probe), case.headers)

    REGISTRY.add(
        f"errors.{case.id}", case.level, f'A request {case.what} is an error status with {{"error": text}}.',
        f"{case.section}; {_ERROR_OBJECT}",
        lambda probe: _refused(ask(probe)),
    )  # fmt: skip
    REGISTRY.add(
        f"errors.{case.id}-status", SHOULD,
        f"A request {case.what} is answered {' or '.join(map(str, case.statuses))}.",
        f"inference_rest.md: {_ERROR_OBJECT}, typically 400; RFC 9110, section 15.5",
        lambda probe: _of_status(ask(probe), case.statuses),
    )  # fmt: skip


for _case in _CASES:
    _add(_case)


@check("errors.unknown-model", MUST, 'An unknown model is an error status with {"error": text}.', _ERROR_OBJECT)
def unknown_model(probe: Probe) -> None:
    _refused(probe.rest.post(f"/v2/models/{UNKNOWN}/infer", probe.request()))


@check("errors.unknown-model-404", SHOULD, "An unknown model is 404.", "RFC 9110, section 15.5.5: 404")
def unknown_model_status(probe: Probe) -> None:
    _of_status(probe.rest.post(f"/v2/models/{UNKNOWN}/infer", probe.request()), (404,))


@check("errors.method", SHOULD, "GET of an infer route is 405.", "RFC 9110, section 15.5.6: 405")
def method(probe: Probe) -> None:
    _of_status(probe.rest.get(f"{probe.path}/infer"), (405,))


@check("errors.no-traceback", SHOULD, "An error describes what is wrong, without the server's stack.", _ERROR_OBJECT)
def no_traceback(probe: Probe) -> None:
    for key in ("no-inputs", "data-short", "text-for-number", "unknown-datatype"):
        case = next(case for case in _CASES if case.id == key)
        answer = probe.once(case.id, case.body(probe), case.headers)
        if b"Traceback" in answer.body or b'File \\"' in answer.body:
            raise Violation("one sentence", str(answer))


@check(
    "errors.length-above-body",
    SHOULD,
    "A body that ends before its Content-Length is not answered as if it were whole.",
    "RFC 9112, section 8: handling incomplete messages",
)
def cut_body(probe: Probe) -> None:
    body = json.dumps(probe.request()).encode()
    answer = probe.rest.lie(f"{probe.path}/infer", body, len(body) + 10)
    if 200 <= answer.status < 300:
        raise Violation("400, or the connection closed without an answer", str(answer))


@check(
    "errors.length-below-body",
    SHOULD,
    "A body that Content-Length cuts off is an error, and what follows is no body.",
    "RFC 9112, section 6.2: Content-Length",
)
def long_body(probe: Probe) -> None:
    body = json.dumps(probe.request()).encode()
    answer = probe.rest.lie(f"{probe.path}/infer", body, len(body) - 5)
    if answer.status < 400 or answer.status >= 500:
        raise Violation("a status of 4xx", str(answer))


@check("errors.survived", MUST, "After all bad requests a valid one is answered as before.", "Inference")
def survived(probe: Probe) -> None:
    first = probe.outputs(probe.request())
    for key in ("no-json", "no-inputs"):
        case = next(case for case in _CASES if case.id == key)
        probe.infer(case.body(probe))
    for one, other in zip(first, probe.outputs(probe.request()), strict=True):
        if "data" in one and not same_values(values_of(one), values_of(other)):
            raise Violation(str(one["data"])[:200], str(other["data"])[:200])
