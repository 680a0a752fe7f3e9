"""The serving container's image, where the manifest asks for another version of it."""

from __future__ import annotations

import re
from typing import Final

from pillion_operator.state.plan import PlanError, Problem
from pillion_operator.state.reasons import Reason

__all__ = ["same_repository", "variant", "with_version"]

_DIGEST: Final = re.compile(r"@[a-z0-9]+:[0-9a-f]+$")
_TAG: Final = re.compile(r":([A-Za-z0-9_][A-Za-z0-9._-]*)$")
#: A library and its minor version: the runtime of the installed version, built with that library.
_VARIANT: Final = re.compile(r"^[a-z]+-[0-9]+[.][0-9]+$")


def with_version(image: str, version: str, *, ours: bool) -> str:
    """Return the image with the tag that `runtimeVersion` asks for.

    A tag takes the place of the image's own, as in KServe. `sklearn-1.6` on our own image asks for the same release
    with that scikit-learn, `{tag}-sklearn-1.6`, so that a manifest outlives upgrades of the operator.

    Raises:
        PlanError: a variant is asked for of an image without a tag.
    """
    bare, tag = _parts(image)
    if not ours or not _VARIANT.match(version):
        return f"{bare}:{version}"
    if not tag:
        raise PlanError(
            Problem(
                Reason.INVALID_SPEC,
                f"runtimeVersion {version!r} is a variant of a release, and the runtime's image {image!r} has no tag",
                "spec.predictor",
                transient=False,
                remedy="give the runtime's image a tag, or write the whole tag into runtimeVersion",
            )
        )
    return f"{bare}:{tag}-{version}"


def variant(image: str, name: str) -> str | None:
    """Return the image of the same release that is built for a backend of its own, `{tag}-torch`.

    None for an image without a tag: it says nothing of its variants.
    """
    bare, tag = _parts(image)
    return f"{bare}:{tag}-{name}" if tag else None


def same_repository(image: str, other: str) -> bool:
    """Whether two images are of one repository, whatever their tags and digests."""
    return _parts(image)[0] == _parts(other)[0]


def _parts(image: str) -> tuple[str, str]:
    """Return the image without tag and digest, and the tag."""
    untagged = _DIGEST.sub("", image)
    tag = _TAG.search(untagged)
    return (untagged[: tag.start()], tag[1]) if tag else (untagged, "")
