"""The model in this very process, behind the data plane of every server: no call over the network for a row."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.batchpod.predictor import RowsRefusedError
from pillion.batchpod.rows import Columns
from pillion.dataplane.call import Call, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.metrics import Collectors, RuntimeMetrics
from pillion.model import ModelState
from pillion.podword import FAILED, LOST, EndedError
from pillion.protocol.v1 import decode_v1, encode_v1
from pillion.protocol.v1_table import columns_of
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from pillion.batchpod.order import Model
    from pillion.model import ModelMetadata

__all__ = ["LocalModel", "loaded"]

_OF_THE_ROWS: Final = frozenset({ErrorCode.INVALID_ARGUMENT, ErrorCode.MODEL_FAILED, ErrorCode.PAYLOAD_TOO_LARGE})
_NAME: Final = "model"


class LocalModel:
    """A :class:`~pillion.batchpod.predictor.Predictor`. Event loop's thread only."""

    def __init__(self, plane: DataPlane, metadata: ModelMetadata) -> None:
        self._plane = plane
        self._metadata = metadata
        self._numbers = itertools.count(1)
        self.columns = _columns(metadata)

    async def predict(self, body: bytes) -> list[Any]:
        """See :meth:`pillion.batchpod.predictor.Predictor.predict`."""
        call = Call(WireProtocol.INTERNAL, f"batch-{next(self._numbers)}", background=True)
        try:
            request = decode_v1(body, model=_NAME, metadata=self._metadata)
            answer = encode_v1(await self._plane.infer(request, call))
        except PillionError as error:
            if error.code in _OF_THE_ROWS:
                raise RowsRefusedError(str(error)) from None
            status = LOST if error.code is ErrorCode.QUEUE_FULL else FAILED  # another try finds another queue
            raise EndedError(status, "PredictionFailed", str(error)) from None
        predictions: list[Any] = msgspec.json.decode(answer)["predictions"]
        return predictions


async def loaded(model: Model, concurrency: int) -> LocalModel:
    """Load the model.

    Args:
        model: which.
        concurrency: calls at a time; so many have a place, however few the model computes at a time.

    Raises:
        EndedError: it cannot be loaded, or takes no rows.
    """
    repository = ModelRepository(RepositorySettings())
    # Whoever waits here is this process alone, and no deadline is worth losing a batch.
    settings = PlaneSettings(
        timeout_seconds=None, max_queue=max(128, concurrency), max_in_flight=max(1024, concurrency)
    )
    plane = DataPlane(repository=repository, metrics=RuntimeMetrics(Collectors()), settings=settings)
    await repository.apply([DesiredModel(name=_NAME, **msgspec.structs.asdict(model))])
    status = plane.status(_NAME, "1")
    if status.state is not ModelState.READY or status.metadata is None:
        raise EndedError(FAILED, status.cause or "ModelLoadFailed", f"the model cannot be loaded: {status.reason}")
    if not status.metadata.inputs:
        text = "the model takes no tensors: it has tasks only, and a BatchPrediction has rows"
        raise EndedError(FAILED, "PredictionFailed", text, "give the class a method predict")
    return LocalModel(plane, status.metadata)


def _columns(metadata: ModelMetadata) -> Columns:
    table = columns_of(metadata)
    if table:
        return Columns({spec.name: spec.datatype.value for spec in table})
    inputs = metadata.inputs
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1:
        return Columns({}, inputs[0].datatype.value)
    return Columns({spec.name: spec.datatype.value for spec in inputs})
