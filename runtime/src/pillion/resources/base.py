"""What every resource model shares: naming, strictness, and the two ways in (a manifest, a stored object)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.resources.rules import Rule

GROUP = "serving.pillion.dev"
VERSION = "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"

#: A JSON object whose content is somebody else's: it travels through Pillion untouched.
JsonObject: TypeAlias = dict[str, JsonValue]


class ResourceModel(BaseModel):
    """A part of a custom resource: snake_case in Python, camelCase on the wire, immutable.

    Unknown keys are refused, because a typing mistake that is pruned in silence is the worst kind. Types are
    strict, as the API server's are: `"1"` is no number and `1` is no text.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
        # Building eighty validators at import would cost more than most commands of the CLI.
        defer_build=True,
    )

    #: Rules that span several fields of this model; they become CEL in the CRD. See `pillion.resources.rules`.
    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, JsonValue]) -> Self:
        """Read what a person wrote: camelCase only, nothing unknown.

        Raises `pydantic.ValidationError`. For problems with lines and remedies use `pillion.resources.validate`.
        """
        return cls.model_validate(manifest, by_alias=True, by_name=False)

    @classmethod
    def from_api(cls, stored: Mapping[str, JsonValue]) -> Self:
        """Read what the API server stored: a field that a newer release added is passed over, not refused."""
        return cls.model_validate(stored, by_alias=True, by_name=False, extra="ignore")

    def to_api(self) -> JsonObject:
        """Return the wire form: camelCase, absent fields left out."""
        return cast("JsonObject", self.model_dump(mode="json", by_alias=True, exclude_none=True))
