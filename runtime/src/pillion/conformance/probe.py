"""What the checks of one model share: the clients, what the server said of itself, and valid requests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pillion.conformance.model import Skipped, Violation
from pillion.conformance.samples import RAW_ONLY, Sample, elements, flat, of_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.conformance.exchange import Answer, Rest
    from pillion.conformance.wire import Grpc

__all__ = ["UNKNOWN", "Facts", "Probe", "is_optional", "outputs_of", "same_values", "values_of"]

UNKNOWN = "no-such-model-a1f7"
"""A name that no server has."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found before the checks.

    Args:
        models: that the server lists, or that were asked for.
        listed: whether the server itself gave the list.
        extensions: those that it claims, and those that the caller assumes.
        given: inputs of a request that the caller gave in place of what metadata says.
    """

    models: tuple[str, ...]
    listed: bool
    extensions: frozenset[str]
    given: tuple[Sample, ...] = ()

    def claims(self, *names: str) -> bool:
        """Whether an extension of one of these names is claimed, whatever stands in brackets or after it."""
        claimed = {name.partition("(")[0].removesuffix("_extension") for name in self.extensions}
        return not claimed.isdisjoint(names)


@dataclass(slots=True)
class Probe:
    """One model of one server, as the checks see it."""

    rest: Rest
    grpc: Grpc | None
    facts: Facts
    model: str = ""
    _metadata: dict[str, Any] | None = None
    _asked: bool = False
    _answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The model's path below the server's URL."""
        return f"/v2/models/{quote(self.model, safe='')}"

    def metadata(self) -> dict[str, Any]:
        """The model's metadata, asked for once.

        Raises:
            Skipped: there is none that could be read; a check of its own says so.
        """
        if not self._asked:
            self._asked = True
            answer = self.rest.get(self.path)
            self._metadata = answer.object() if answer.status == 200 and answer.is_object() else None
        if self._metadata is None:
            raise Skipped("the model's metadata cannot be read")
        return self._metadata

    def samples(self) -> list[Sample]:
        """A valid tensor for each input.

        Raises:
            Skipped: neither metadata nor the caller says what the model takes.
        """
        if self.facts.given:
            return list(self.facts.given)
        inputs = self.metadata().get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise Skipped("metadata describes no inputs: give a request of the model with --request")
        try:
            return [of_metadata(tensor) for tensor in inputs if not is_optional(tensor)]
        except (ValueError, AttributeError) as error:
            raise Skipped(f"no request can be made from metadata: {error}") from None

    def json_samples(self) -> list[Sample]:
        """The same, for a request in JSON.

        Raises:
            Skipped: also where an input has a datatype that JSON has no form for.
        """
        samples = self.samples()
        for sample in samples:
            if sample.datatype in RAW_ONLY:
                raise Skipped(f"input {sample.name!r} is {sample.datatype}, which JSON has no form for")
        return samples

    def numeric(self) -> Sample:
        """An input of numbers.

        Raises:
            Skipped: there is none.
        """
        for sample in self.json_samples():
            if sample.datatype not in ("BYTES", "BOOL"):
                return sample
        raise Skipped("the model has no input of numbers")

    def an_input(self) -> Sample:
        """An input that JSON has a form for: of numbers where there is one.

        Raises:
            Skipped: there is none.
        """
        samples = self.json_samples()
        return next((sample for sample in samples if sample.datatype != "BYTES"), samples[0])

    def request(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """A valid request in JSON, with members added or replaced."""
        return {"inputs": [sample.document() for sample in self.json_samples()]} | changes

    def with_input(self, sample: Sample, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """A request in which one input is changed; a member changed to None is left out."""
        inputs = []
        for each in self.json_samples():
            body = each.document(**(changes if each.name == sample.name else {}))
            inputs.append({name: value for name, value in body.items() if value is not None})
        return {"inputs": inputs}

    def infer(self, body: object, headers: Mapping[str, str] | None = None, version: str | None = None) -> Answer:
        """POST to the model's infer route."""
        where = self.path if version is None else f"{self.path}/versions/{quote(version, safe='')}"
        return self.rest.post(f"{where}/infer", body, headers)

    def outputs(self, body: object, headers: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The outputs of a request that has to succeed.

        Raises:
            Violation: it does not.
        """
        return outputs_of(self.infer(body, headers))

    def versions(self) -> list[str]:
        """The versions that the model's metadata lists.

        Raises:
            Skipped: it lists none, or something else than texts.
        """
        versions = self.metadata().get("versions")
        if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions) or not versions:
            raise Skipped("the model's metadata lists no versions")
        return versions

    def output_names(self) -> list[str]:
        """The names of the outputs: of the metadata, else of an answer.

        Raises:
            Skipped: no request can be made.
            Violation: it is not answered.
        """
        described = self.metadata().get("outputs")
        if isinstance(described, list) and described:
            return [str(output.get("name")) for output in described if isinstance(output, dict)]
        return [str(output.get("name")) for output in self.outputs(self.request())]

    def once(self, key: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request once for all the checks that look at its answer."""
        if key not in self._answers:
            self._answers[key] = self.infer(body, headers)
        self.rest.last = self._answers[key]
        return self._answers[key]


def outputs_of(answer: Answer) -> list[dict[str, Any]]:
    """The outputs of an answer.

    Raises:
        Violation: the request failed, or there are no outputs to speak of.
    """
    if answer.status != 200:
        raise Violation("200 for a valid request", str(answer))
    outputs = answer.object().get("outputs")
    if not isinstance(outputs, list) or not outputs or not all(isinstance(output, dict) for output in outputs):
        raise Violation('"outputs" as a list of objects, at least one', repr(outputs)[:200])
    return outputs


def same_values(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two tensors hold the same values; numbers within what text and FP32 lose."""
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - elements of tensors
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return bool(one == other)


def values_of(output: Mapping[str, Any]) -> list[Any]:
    """The values of an output in JSON, after a look at whether its parts fit together.

    Raises:
        Violation: they do not.
    """
    shape, data = output.get("shape"), output.get("data")
    if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Violation('"shape" as a list of integers, none below 0', f"{output.get('name')!r}: {shape!r}")
    if not isinstance(data, list):
        raise Violation('"data" as an array', f"{output.get('name')!r}: {str(data)[:100]}")
    values = flat(data)
    if len(values) != elements(shape):
        raise Violation(
            f"{elements(shape)} elements for shape {shape}", f"{len(values)} elements in {output.get('name')!r}"
        )
    return values


def is_optional(tensor: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether a tensor may be left out: an input of a request, an output of an answer to one that names none.

    The protocol has no word for it; ``parameters: {"optional": true}`` is ours, open to any server.
    """
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    return isinstance(parameters, dict) and parameters.get("optional") is True
