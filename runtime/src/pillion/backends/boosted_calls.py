"""The C functions of XGBoost and LightGBM behind their Python methods, called with what never changes made once.

Both libraries make up options, imports and checks anew in each call, which takes as long as a row of a small model. The
functions are those of their documented C interfaces (``XGBoosterPredictFromDense``, ``LGBM_BoosterPredictForMat`` and
``LGBM_BoosterPredictForMatSingleRowFast``). The way to their libraries and handles is not public, so what is made here
is compared with the Python method when a model is loaded, and the method is used where anything is missing or differs.
"""

from __future__ import annotations

import ctypes
import json
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["lightgbm_call", "verified", "xgboost_call"]

Array = np.ndarray[Any, np.dtype[Any]]
_log = logging.getLogger(__name__)

_FP64: Final = 1
"""``C_API_DTYPE_FLOAT64``."""
_OF_SIZE: Final = ctypes.POINTER(ctypes.c_uint64)
_XGBOOST: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p,
    ctypes.POINTER(_OF_SIZE), ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.POINTER(ctypes.c_float)),
)  # fmt: skip
_LIGHTGBM: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.c_int,
    ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p,
)  # fmt: skip
_LIGHTGBM_PREPARE: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int32,
    ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
)  # fmt: skip
_LIGHTGBM_ROW: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p
)
_LIGHTGBM_FREE: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


def verified(
    library: Callable[[Array], Array], make: Callable[[], Callable[[Array], Array]], width: int, dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    """What ``make`` makes, where it gives to the last bit what ``library`` gives; else ``library``."""
    try:
        quick = make()
        random = np.random.default_rng(0)
        for rows in (np.full((1, width), np.nan), np.zeros((1, width)), random.normal(0, 3, (5, width))):
            given = np.ascontiguousarray(rows, dtype)
            expected, found = library(given), quick(given)
            if expected.dtype != found.dtype or not np.array_equal(expected, found, equal_nan=True):
                _log.warning("its C function gives other results than its Python method, which is called instead")
                return library
    except Exception as error:  # noqa: BLE001 - names that are not public may be gone, or mean something else
        _log.info("its Python method is called instead of its C function: %s: %s", type(error).__name__, error)
        return library
    return quick


def xgboost_call(
    booster: Any,  # noqa: ANN401 - without types
    iterations: tuple[int, int],
    library: Callable[[Array], Array],
) -> Callable[[Array], Array]:
    """The prediction for FP32 [rows, columns]; several threads may call it. Errors are told by ``library``."""
    import xgboost  # noqa: PLC0415 - the other library may not be installed

    predict = _XGBOOST(("XGBoosterPredictFromDense", xgboost.core._LIB))
    handle = booster.handle
    options = json.dumps(
        {
            "type": 0,
            "training": False,
            "iteration_begin": iterations[0],
            "iteration_end": iterations[1],
            "missing": float("nan"),
            "strict_shape": False,
            "cache_id": 0,
        }
    ).encode()

    def call(matrix: Array) -> Array:
        matrix = np.ascontiguousarray(matrix)
        rows, columns = matrix.shape
        if not rows:  # the library's answer has no memory then
            return library(matrix)
        described = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3,"strides":null}' % (
            matrix.ctypes.data, rows, columns,
        )  # fmt: skip
        shape, dimensions = _OF_SIZE(), ctypes.c_uint64()
        values = ctypes.POINTER(ctypes.c_float)()
        failed = predict(
            handle, described, options, None, ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(values)
        )
        if failed:
            return library(matrix)
        sizes = tuple(shape[: dimensions.value])
        return np.ctypeslib.as_array(values, sizes).copy()  # the library's memory, until this thread calls again

    return call


def lightgbm_call(
    booster: Any,  # noqa: ANN401 - without types
    threads: int,
    width: int,
    library: Callable[[Array], Array],
) -> Callable[[Array], Array]:
    """The prediction for FP64 [rows, ``width``]; several threads may call it. Errors are told by ``library``."""
    import lightgbm  # noqa: PLC0415 - the other library may not be installed

    loaded = lightgbm.basic._LIB  # type: ignore[attr-defined] # not public, see above
    predict = _LIGHTGBM(("LGBM_BoosterPredictForMat", loaded))
    prepare = _LIGHTGBM_PREPARE(("LGBM_BoosterPredictForMatSingleRowFastInit", loaded))
    predict_row = _LIGHTGBM_ROW(("LGBM_BoosterPredictForMatSingleRowFast", loaded))
    handle = booster._handle
    outputs = int(booster.num_model_per_iteration())
    last = int(booster.best_iteration) if booster.best_iteration > 0 else -1
    options = f"num_threads={threads}".encode()
    prepared = ctypes.c_void_p()
    if prepare(handle, 0, 0, last, _FP64, width, options, ctypes.byref(prepared)):
        raise ValueError("a single row cannot be prepared")
    alone = threading.Lock()  # what is prepared is of one row at a time

    def call(matrix: Array) -> Array:
        matrix = np.ascontiguousarray(matrix)
        rows = len(matrix)
        if not rows or matrix.shape[1] != width:
            return library(matrix)
        result = np.empty((rows, outputs) if outputs > 1 else rows, np.float64)
        length = ctypes.c_int64()
        if rows == 1 and alone.acquire(blocking=False):
            try:
                failed = predict_row(prepared, matrix.ctypes.data, ctypes.byref(length), result.ctypes.data)
            finally:
                alone.release()
        else:
            failed = predict(
                handle, matrix.ctypes.data, _FP64, rows, width, 1, 0, 0, last, options, ctypes.byref(length),
                result.ctypes.data,
            )  # fmt: skip
        return library(matrix) if failed or length.value != result.size else result

    free = _LIGHTGBM_FREE(("LGBM_FastConfigFree", loaded))
    weakref.finalize(call, free, prepared)
    return call
