"""What is told of models to people and programs that manage them. Values, and what they are made of."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion._version import __version__
from pillion.model import ModelState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.model import ModelStatus
    from pillion.modelstore import FailedLoad, ModelVersion

__all__ = ["ModelInfo", "failed_info", "model_info", "version_document"]

_PACKAGES: Final = (
    "pillion",
    "numpy",
    "scikit-learn",
    "onnxruntime",
    "xgboost-cpu",
    "lightgbm",
    "torch",
    "transformers",
)


class ModelInfo(msgspec.Struct, frozen=True):
    """One model version. The first seven fields have the names that clients of caikit know."""

    name: str
    model_path: str
    size: int
    """Bytes of its files."""
    metadata: Mapping[str, Any]
    """As it was deployed with."""
    loaded: bool
    module_id: str
    """The format that its files were found to have."""
    module_metadata: Mapping[str, Any]
    """What it says of itself; empty until it has been loaded."""
    version: str
    state: str
    reason: str
    """Why it does not serve, or why a newer version does not serve in its place; empty where all is well."""
    time: str
    """When that came to be, RFC 3339 in UTC."""


def model_info(
    status: ModelStatus, size: int, registered: ModelVersion | None, failure: FailedLoad | None
) -> ModelInfo:
    """What is known of a version that the server has.

    Args:
        status: the repository's word.
        size: bytes of its files.
        registered: the version in the store, where it is from there.
        failure: of another version that was to take its place.
    """
    reason, moment = status.reason, dt.datetime.fromtimestamp(status.changed_at, dt.UTC)
    if failure is not None and failure.version != status.version:
        reason = failure.reason
        moment = failure.time
    described: dict[str, Any] = {}
    if status.metadata is not None:
        described = {
            "platform": status.metadata.platform,
            "inputs": [_tensor(spec) for spec in status.metadata.inputs],
            "outputs": [_tensor(spec) for spec in status.metadata.outputs],
        }
    if status.digest:
        described["digest"] = status.digest
    return ModelInfo(
        name=status.name,
        model_path=status.path,
        size=size,
        metadata={} if registered is None else registered.metadata,
        loaded=status.state is ModelState.READY,
        module_id=status.format,
        module_metadata=described,
        version=status.version,
        state="ASLEEP" if status.asleep else status.state.value,
        reason=reason,
        time=_moment(moment),
    )


def failed_info(name: str, failure: FailedLoad) -> ModelInfo:
    """What is known of a model of which no version serves, because the only attempt to deploy one failed."""
    return ModelInfo(
        name=name,
        model_path="",
        size=0,
        metadata={},
        loaded=False,
        module_id="",
        module_metadata={},
        version=failure.version,
        state=ModelState.UNAVAILABLE.value,
        reason=failure.reason,
        time=_moment(failure.time),
    )


def version_document() -> dict[str, Any]:
    """The versions of what serves: ours, Python's, and those of the libraries that are installed."""
    packages: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    packages["pillion"] = __version__
    return {"runtime_version": __version__, "python_version": platform.python_version(), "python_packages": packages}


def _tensor(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - a TensorSpec, whose module imports numpy
    return {"name": spec.name, "datatype": spec.datatype.value, "shape": list(spec.shape)}


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
