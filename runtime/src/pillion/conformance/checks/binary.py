"""The binary tensor data extension: raw tensors behind the JSON of a request or an answer."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.probe import outputs_of, same_values, values_of
from pillion.conformance.registry import MUST, SHOULD, Registry
from pillion.conformance.samples import RAW_ONLY, SIZES, elements, raw, unraw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.conformance.exchange import Answer
    from pillion.conformance.model import Level
    from pillion.conformance.probe import Probe
    from pillion.conformance.samples import Sample

REGISTRY: Final = Registry("extension_binary_data.md")
_HEADER: Final = "inference-header-content-length"
_BOTH: Final = {"parameters": {"binary_data_output": True}}


def check(name: str, level: Level, sentence: str, section: str) -> Callable[[Callable[[Probe], None]], Any]:
    """A check that is skipped where the server does not claim the extension."""

    def add(run: Callable[[Probe], None]) -> Callable[[Probe], None]:
        def claimed(probe: Probe) -> None:
            if not probe.facts.claims("binary_tensor_data"):
                raise Skipped("the server does not claim binary_tensor_data")
            run(probe)

        REGISTRY.add(name, level, sentence, section, claimed)
        return run

    return add


def framed(samples: Sequence[Sample], **members: Any) -> tuple[bytes, dict[str, str]]:  # noqa: ANN401 - JSON
    """A request with raw inputs, and its headers."""
    parts = [raw(sample.datatype, sample.values) for sample in samples]
    inputs = []
    for sample, part in zip(samples, parts, strict=True):
        body = sample.document(parameters={"binary_data_size": len(part)})
        del body["data"]
        inputs.append(body)
    head = json.dumps({"inputs": inputs} | members).encode()
    return head + b"".join(parts), {_HEADER: str(len(head)), "content-type": "application/octet-stream"}


def unframed(answer: Answer) -> list[tuple[dict[str, Any], list[Any]]]:
    """The outputs of an answer with their values, raw or in JSON.

    Raises:
        Violation: header, sizes and bytes do not fit together.
    """
    if answer.status != 200:
        raise Violation("200 for a valid request", str(answer))
    size = answer.headers.get(_HEADER)
    if size is None:
        return [(output, values_of(output)) for output in outputs_of(answer)]
    if not size.isdigit() or int(size) > len(answer.body):
        raise Violation(f"Inference-Header-Content-Length up to {len(answer.body)}", size)
    try:
        outputs = json.loads(answer.body[: int(size)])["outputs"]
    except (ValueError, KeyError, TypeError):
        raise Violation("JSON with outputs in the first bytes", str(answer)) from None
    at = int(size)
    found = []
    for output in outputs:
        length = (output.get("parameters") or {}).get("binary_data_size")
        if length is None:
            found.append((output, values_of(output)))
            continue
        try:
            values = unraw(output["datatype"], answer.body[at : at + length])
        except ValueError as error:
            raise Violation(f"{length} bytes of {output['datatype']}", str(error)) from None
        if len(values) != elements(output["shape"]):
            raise Violation(f"{elements(output['shape'])} elements in {output['name']!r}", str(len(values)))
        at += length
        found.append((output, values))
    if at != len(answer.body):
        raise Violation(f"{at} bytes, by the sizes in the JSON", str(len(answer.body)))
    return found


def _expected(probe: Probe) -> list[tuple[dict[str, Any], list[Any]]]:
    """What the request gets in JSON; in raw form alone where JSON has none."""
    if any(sample.datatype in RAW_ONLY for sample in probe.samples()):
        body, headers = framed(probe.samples(), **_BOTH)
        return unframed(probe.infer(body, headers))
    return [(output, values_of(output)) for output in probe.outputs(probe.request())]


def _same(
    expected: Sequence[tuple[dict[str, Any], list[Any]]], got: Sequence[tuple[dict[str, Any], list[Any]]]
) -> None:
    if [o.get("name") for o, _ in expected] != [o.get("name") for o, _ in got]:
        raise Violation(str([o.get("name") for o, _ in expected]), str([o.get("name") for o, _ in got]))
    for (one, values), (other, others) in zip(expected, got, strict=True):
        if one.get("shape") != other.get("shape") or not same_values(values, others):
            raise Violation(f"{one.get('name')!r}: {str(values)[:150]}", f"{str(others)[:150]}, {other.get('shape')}")


@check("binary.input", MUST, "A raw input means what the same tensor means in JSON.", "Binary Tensor Request")
def raw_input(probe: Probe) -> None:
    body, headers = framed(probe.samples())
    if any(sample.datatype in RAW_ONLY for sample in probe.samples()):
        body, headers = framed(probe.samples(), **_BOTH)
    _same(_expected(probe), unframed(probe.infer(body, headers)))


@check(
    "binary.output",
    MUST,
    "An output asked for with binary_data comes as bytes behind the JSON, sizes right.",
    "Binary Tensor Response",
)
def raw_output(probe: Probe) -> None:
    expected = _expected(probe)
    chosen = [{"name": output["name"], "parameters": {"binary_data": True}} for output, _ in expected]
    body, headers = framed(probe.samples(), outputs=chosen)
    answer = probe.infer(body, headers)
    got = unframed(answer)
    if _HEADER not in answer.headers:
        raise Violation("the header Inference-Header-Content-Length", str(dict(answer.headers))[:300])
    _same(expected, got)


@check(
    "binary.output-all",
    MUST,
    "binary_data_output makes every output raw that says nothing else.",
    "Binary Tensor Request",
)
def all_raw(probe: Probe) -> None:
    body, headers = framed(probe.samples(), **_BOTH)
    answer = probe.infer(body, headers)
    got = unframed(answer)
    if any("binary_data_size" not in (output.get("parameters") or {}) for output, _ in got):
        raise Violation("binary_data_size in the parameters of each output", str(answer))


@check(
    "binary.output-chosen-json",
    MUST,
    "binary_data false at an output wins over binary_data_output.",
    "Binary Tensor Request",
)
def json_wins(probe: Probe) -> None:
    expected = probe.outputs(probe.request())
    if any(output.get("datatype") in RAW_ONLY for output in expected):
        raise Skipped("an output has no form in JSON")
    chosen = [{"name": output["name"], "parameters": {"binary_data": False}} for output in expected]
    body, headers = framed(probe.samples(), outputs=chosen, **_BOTH)
    got = unframed(probe.infer(body, headers))
    if any("data" not in output for output, _ in got):
        raise Violation("'data' in each output", str([sorted(output) for output, _ in got]))


@check("binary.mixed", MUST, "Raw inputs and inputs in JSON go together in one request.", "Binary Tensor Request")
def mixed(probe: Probe) -> None:
    samples = probe.json_samples()
    if len(samples) < 2:
        raise Skipped("the model has one input")
    first, rest = samples[0], samples[1:]
    part = raw(first.datatype, first.values)
    document = first.document(parameters={"binary_data_size": len(part)})
    del document["data"]
    head = json.dumps({"inputs": [document, *(sample.document() for sample in rest)]}).encode()
    _same(_expected(probe), unframed(probe.infer(head + part, {_HEADER: str(len(head))})))


@check("binary.id", MUST, "The id is echoed in the JSON before the bytes too.", "Examples")
def identity(probe: Probe) -> None:
    body, headers = framed(probe.samples(), id="raw-7", **_BOTH)
    answer = probe.infer(body, headers)
    unframed(answer)
    document = json.loads(answer.body[: int(answer.headers.get(_HEADER, len(answer.body)))])
    if document.get("id") != "raw-7":
        raise Violation("id 'raw-7'", repr(document.get("id")))


def _refused(answer: Answer) -> None:
    if not 400 <= answer.status < 500:
        raise Violation("a status of 4xx", str(answer))
    if not answer.is_object() or not isinstance(answer.object().get("error"), str):
        raise Violation('{"error": text}', str(answer))


@check("binary.body-short", MUST, "A binary_data_size beyond the bytes that came is refused.", "Binary Tensor Request")
def short(probe: Probe) -> None:
    body, headers = framed(probe.samples())
    _refused(probe.infer(body[:-1], headers))


@check("binary.body-long", SHOULD, "Bytes that belong to no input are refused.", "Binary Tensor Request")
def long(probe: Probe) -> None:
    body, headers = framed(probe.samples())
    _refused(probe.infer(body + b"\0\0\0", headers))


@check(
    "binary.size-not-of-shape",
    MUST,
    "A binary_data_size that is not that of shape and datatype is refused.",
    "Binary Tensor Request",
)
def size_lies(probe: Probe) -> None:
    samples = probe.samples()
    if samples[-1].datatype not in SIZES:
        raise Skipped("the last input is of BYTES, whose size no shape tells")
    body, headers = framed(samples)
    size = len(raw(samples[-1].datatype, samples[-1].values))
    head = body[: int(headers[_HEADER])]
    old, new = f'"binary_data_size": {size}'.encode(), f'"binary_data_size": {size + 3}'.encode()
    at = head.rindex(old)
    head = head[:at] + new + head[at + len(old) :]
    _refused(probe.infer(head + body[int(headers[_HEADER]) :] + b"\0\0\0", headers | {_HEADER: str(len(head))}))


@check(
    "binary.header-beyond-body",
    MUST,
    "An Inference-Header-Content-Length beyond the body is refused.",
    "Binary Tensor Request",
)
def header_beyond(probe: Probe) -> None:
    body, headers = framed(probe.samples())
    _refused(probe.infer(body, headers | {_HEADER: str(len(body) + 1)}))


@check(
    "binary.header-no-number",
    SHOULD,
    "An Inference-Header-Content-Length that is no number is refused.",
    "Binary Tensor Request",
)
def header_no_number(probe: Probe) -> None:
    body, headers = framed(probe.samples())
    for value in ("-1", "many"):
        _refused(probe.infer(body, headers | {_HEADER: value}))


@check(
    "binary.data-and-size", SHOULD, "An input with data and with binary_data_size is refused.", "Binary Tensor Request"
)
def both(probe: Probe) -> None:
    samples = probe.json_samples()
    parts = [raw(sample.datatype, sample.values) for sample in samples]
    inputs = [
        sample.document(parameters={"binary_data_size": len(part)}) for sample, part in zip(samples, parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()
    _refused(probe.infer(head + b"".join(parts), {_HEADER: str(len(head))}))


@check(
    "binary.bytes-length-lies",
    MUST,
    "An element of BYTES whose length goes beyond the tensor is refused.",
    "Binary Tensor Request, BYTES",
)
def bytes_lie(probe: Probe) -> None:
    samples = probe.samples()
    if samples[-1].datatype != "BYTES":
        raise Skipped("the last input is not of BYTES")
    body, headers = framed(samples)
    size = len(raw("BYTES", samples[-1].values))
    at = len(body) - size
    _refused(probe.infer(body[:at] + struct.pack("<I", 1 << 31) + body[at + 4 :], headers))


@check("binary.half", MUST, "FP16 and BF16 travel raw; as numbers in JSON they are refused.", "Tensor Data: fp16, bf16")
def half(probe: Probe) -> None:
    samples = probe.samples()
    if not any(sample.datatype in RAW_ONLY for sample in samples):
        raise Skipped("the model has no input of FP16 or BF16")
    body, headers = framed(samples, **_BOTH)
    unframed(probe.infer(body, headers))
    _refused(probe.infer({"inputs": [sample.document() for sample in samples]}))
