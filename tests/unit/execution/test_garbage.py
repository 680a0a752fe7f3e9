"""What is exempt from the collector of cycles, and that it does not stay so when models go."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pillion.execution import garbage
from pillion.execution.inline import InlineExecutor
from pillion.model import ModelMetadata
from pillion.repository.served import Served
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    garbage.thaw()


class Cyclic:
    """A model that refers to itself."""

    def __init__(self) -> None:
        self.itself: Any = self
        self.metadata = ModelMetadata("test", (), ())
        self.default_outputs = ()

    def close(self) -> None:
        pass


def test_what_is_frozen_is_not_collected() -> None:
    model = Cyclic()
    kept = weakref.ref(model)
    garbage.freeze()
    assert gc.get_freeze_count() > 0
    del model
    gc.collect()
    assert kept() is not None


def test_a_model_that_is_let_go_is_collected_with_its_cycles() -> None:
    model: Any = Cyclic()
    gone = weakref.ref(model)
    served = Served(DesiredModel(name="m", path="m"), model, InlineExecutor(), 1)
    garbage.freeze()
    served.close()
    assert 0 == gc.get_freeze_count()
    del model, served
    gc.collect()
    assert gone() is None


def test_what_others_have_frozen_is_left_alone() -> None:
    gc.freeze()
    try:
        garbage.thaw()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
