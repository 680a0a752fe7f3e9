"""What server and models say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.probe import UNKNOWN
from pillion.conformance.registry import MUST, SHOULD, Registry
from pillion.conformance.samples import SIZES

if TYPE_CHECKING:
    from pillion.conformance.probe import Probe

REGISTRY: Final = Registry("inference_rest.md")
check = REGISTRY.check
_DATATYPES: Final = frozenset(SIZES) | {"BYTES"}


def _texts(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


@check("metadata.server", MUST, "GET v2 is answered 200 with a JSON object.", "Server Metadata", per_model=False)
def server(probe: Probe) -> None:
    answer = probe.rest.get("/v2")
    if answer.status != 200:
        raise Violation("200", str(answer))
    answer.object()


@check(
    "metadata.server-members", MUST, "It has the texts name and version, and extensions as a list of texts.",
    "Server Metadata Response", per_model=False,
)  # fmt: skip
def server_members(probe: Probe) -> None:
    document = probe.rest.get("/v2").object()
    for member in ("name", "version"):
        if not isinstance(document.get(member), str):
            raise Violation(f"{member!r} as a text", str(document))
    if not _texts(document.get("extensions")):
        raise Violation("'extensions' as a list of texts", str(document))


@check(
    "metadata.content-type", SHOULD, "JSON is sent as application/json.", "RFC 8259, section 11: media type",
    per_model=False,
)  # fmt: skip
def content_type(probe: Probe) -> None:
    answer = probe.rest.get("/v2")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Violation("content-type: application/json", kind or "none")


@check("metadata.model", MUST, "GET v2/models/MODEL is answered 200 with a JSON object.", "Model Metadata")
def model(probe: Probe) -> None:
    answer = probe.rest.get(probe.path)
    if answer.status != 200:
        raise Violation("200", str(answer))
    answer.object()


@check(
    "metadata.model-members",
    MUST,
    "It has the model's name, platform as a text, inputs and outputs as lists.",
    "Model Metadata Response",
)
def members(probe: Probe) -> None:
    document = probe.rest.get(probe.path).object()
    if document.get("name") != probe.model:
        raise Violation(f"name {probe.model!r}", repr(document.get("name")))
    if not isinstance(document.get("platform"), str):
        raise Violation("'platform' as a text", repr(document.get("platform")))
    for member in ("inputs", "outputs"):
        if not isinstance(document.get(member), list):
            raise Violation(f"{member!r} as a list", repr(document.get(member)))


@check(
    "metadata.inputs-described",
    MUST,
    "inputs names what the model requires, outputs what it produces.",
    "Model Metadata Response",
)
def described(probe: Probe) -> None:
    document = probe.rest.get(probe.path).object()
    for member in ("inputs", "outputs"):
        if not document.get(member):
            raise Violation(f"at least one entry in {member!r}", repr(document.get(member)))


@check(
    "metadata.tensors", MUST,
    "Each input and output has a name, a datatype of the protocol, and a shape of integers with -1 where it varies.",
    "Model Metadata Response; Tensor Data Types",
)  # fmt: skip
def tensors(probe: Probe) -> None:
    document = probe.metadata()
    probe.rest.get(probe.path)
    found = [tensor for member in ("inputs", "outputs") for tensor in document.get(member) or []]
    if not found:
        raise Skipped("metadata describes no tensor")
    for tensor in found:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise Violation("an object with a 'name'", repr(tensor))
        if tensor.get("datatype") not in _DATATYPES:
            raise Violation("one of " + ", ".join(sorted(_DATATYPES)), repr(tensor))
        shape = tensor.get("shape")
        if not isinstance(shape, list) or not all(isinstance(size, int) and size >= -1 for size in shape):
            raise Violation("'shape' as a list of integers, -1 where it varies", repr(tensor))


@check(
    "metadata.unknown-model", MUST, 'Metadata of an unknown model is an error status with the object {"error": text}.',
    "Model Metadata Response JSON Error Object", per_model=False,
)  # fmt: skip
def unknown(probe: Probe) -> None:
    answer = probe.rest.get(f"/v2/models/{UNKNOWN}")
    if answer.status < 400:
        raise Violation("an error status", str(answer))
    if not answer.is_object() or not isinstance(answer.object().get("error"), str):
        raise Violation('{"error": text}', str(answer))


@check(
    "metadata.unknown-model-404", SHOULD, "What is not there is answered 404.", "RFC 9110, section 15.5.5: 404",
    per_model=False,
)  # fmt: skip
def unknown_status(probe: Probe) -> None:
    answer = probe.rest.get(f"/v2/models/{UNKNOWN}")
    if answer.status != 404:
        raise Violation("404", str(answer))
