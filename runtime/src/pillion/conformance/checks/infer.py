"""Inference in JSON."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.probe import is_optional, outputs_of, same_values, values_of
from pillion.conformance.registry import MUST, SHOULD, Registry
from pillion.conformance.samples import RAW_ONLY, nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.conformance.exchange import Answer
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("inference_rest.md")
check = REGISTRY.check
_CONCURRENT: Final = 8


@check("infer.valid", MUST, "A request made from the metadata is answered 200.", "Inference Response JSON Object")
def valid(probe: Probe) -> None:
    answer = probe.infer(probe.request())
    if answer.status != 200:
        raise Violation("200", str(answer))


@check(
    "infer.members",
    MUST,
    "The answer has model_name, and outputs with name, shape, datatype and data.",
    "Inference Response JSON Object; Response Output",
)
def members(probe: Probe) -> None:
    answer = probe.infer(probe.request())
    outputs = outputs_of(answer)
    if answer.object().get("model_name") != probe.model:
        raise Violation(f"model_name {probe.model!r}", repr(answer.object().get("model_name")))
    for output in outputs:
        for member in ("name", "datatype"):
            if not isinstance(output.get(member), str):
                raise Violation(f"{member!r} as a text", str(output)[:300])
        if output["datatype"] not in RAW_ONLY:
            values_of(output)


@check(
    "infer.values",
    MUST,
    "Elements are of the output's datatype, row by row: numbers, true or false, texts.",
    "Tensor Data",
)
def values(probe: Probe) -> None:
    for output in probe.outputs(probe.request()):
        datatype = str(output.get("datatype"))
        if datatype in RAW_ONLY:
            continue
        for value in values_of(output):
            if not _fits(datatype, value):
                raise Violation(f"elements of {datatype}", f"{value!r} in {output.get('name')!r}")


def _fits(datatype: str, value: Any) -> bool:  # noqa: ANN401 - JSON
    if value is None:
        return True  # a missing value; the protocol has no word for it
    if datatype == "BOOL":
        return isinstance(value, bool) or value in (0, 1)
    if datatype == "BYTES":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return datatype.startswith("FP") or float(value).is_integer()


@check(
    "infer.outputs-as-described",
    MUST,
    "Without a choice all outputs of the metadata come, but for those it marks as optional.",
    "Inference Request JSON Object",
)
def as_described(probe: Probe) -> None:
    described = probe.metadata().get("outputs")
    if not described:
        raise Skipped("metadata describes no outputs")
    wanted = {tensor.get("name"): tensor.get("datatype") for tensor in described if not is_optional(tensor)}
    got = {output.get("name"): output.get("datatype") for output in probe.outputs(probe.request())}
    if got != wanted:
        raise Violation(str(wanted), str(got))


@check("infer.id", MUST, "The id of a request is returned in its answer.", "Inference Request JSON Object")
def identity(probe: Probe) -> None:
    answer = probe.infer(probe.request(id="request-42"))
    outputs_of(answer)
    if answer.object().get("id") != "request-42":
        raise Violation("id 'request-42'", repr(answer.object().get("id")))


@check("infer.nested-data", MUST, "Data may be nested as the shape is, or flat: both mean the same.", "Tensor Data")
def nested_data(probe: Probe) -> None:
    samples = probe.json_samples()
    if not any(len(sample.shape) > 1 for sample in samples):
        raise Skipped("no input has more than one dimension")
    inputs = [sample.document(data=nested(sample.values, sample.shape)) for sample in samples]
    _equal(probe.outputs(probe.request()), probe.outputs({"inputs": inputs}))


@check(
    "infer.batch", MUST, "Where the first dimension varies, shape and data of a whole batch are taken.", "Request Input"
)
def batch(probe: Probe) -> None:
    samples = probe.json_samples()
    if not all(sample.declared and sample.declared[0] == -1 for sample in samples):
        raise Skipped("not every input's first dimension may vary")
    one = probe.outputs(probe.request())
    answer = probe.infer({"inputs": [sample.rows(3).document() for sample in samples]})
    for single, several in zip(one, outputs_of(answer), strict=True):
        if values_of(several) and single.get("shape", [0])[:1] == [1] and several["shape"][:1] != [3]:
            raise Violation("outputs for 3 rows", f"{several.get('name')!r} of shape {several['shape']}")


@check("infer.outputs-chosen", MUST, "Where outputs are named, these are returned.", "Inference Request Examples")
def chosen(probe: Probe) -> None:
    for name in probe.output_names():
        got = [output.get("name") for output in probe.outputs(probe.request(outputs=[{"name": name}]))]
        if got != [name]:
            raise Violation(str([name]), str(got))


@check(
    "infer.output-unknown",
    SHOULD,
    "An output that the model does not have is refused, not left out in silence.",
    "Request Output",
)
def unknown_output(probe: Probe) -> None:
    probe.outputs(probe.request())
    answer = probe.infer(probe.request(outputs=[{"name": "no-such-output"}]))
    if not 400 <= answer.status < 500:
        raise Violation("a status of 4xx", str(answer))


@check(
    "infer.parameters",
    SHOULD,
    "Parameters that a server does not know do no harm: texts, numbers, true and false.",
    "Parameters",
)
def parameters(probe: Probe) -> None:
    body = probe.request(parameters={"conformance_text": "a", "conformance_number": 1, "conformance_truth": True})
    _equal(probe.outputs(probe.request()), probe.outputs(body))


@check(
    "infer.charset",
    SHOULD,
    "application/json with a charset is the same media type.",
    "RFC 9110, section 8.3.1: media type parameters",
)
def charset(probe: Probe) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    _equal(probe.outputs(probe.request()), probe.outputs(probe.request(), headers))


@check(
    "infer.concurrent",
    MUST,
    f"{_CONCURRENT} requests at once are each answered with their own id and outputs.",
    "Inference Request JSON Object",
)
def concurrent(probe: Probe) -> None:
    expected = probe.outputs(probe.request())
    answers: list[tuple[str, Answer]] = []

    def ask(number: int) -> None:
        name = f"at-once-{number}"
        answers.append((name, probe.infer(probe.request(id=name))))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(_CONCURRENT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, answer in answers:
        probe.rest.last = answer
        _equal(expected, outputs_of(answer))
        if answer.object().get("id") != name:
            raise Violation(f"id {name!r}", repr(answer.object().get("id")))


def _equal(expected: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
    if [output.get("name") for output in expected] != [output.get("name") for output in outputs]:
        raise Violation(f"outputs {[o.get('name') for o in expected]}", str([o.get("name") for o in outputs]))
    for one, other in zip(expected, outputs, strict=True):
        if one.get("datatype") in RAW_ONLY:
            continue
        if one.get("shape") != other.get("shape") or not same_values(values_of(one), values_of(other)):
            raise Violation(
                f"the same as before: {str(one.get('data'))[:120]}",
                f"{str(other.get('data'))[:120]} of shape {other.get('shape')}",
            )
