"""The base class of models written in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Model"]


class Model:
    """A model of one's own.

    A subclass has tasks (methods marked with :func:`pillion.task`), or ``predict``, or both::

        class Mood(Model):
            def load(self):
                self.score = {"good": 1, "bad": -1}

            @task
            def classify(self, text: str) -> int:
                return sum(self.score.get(word, 0) for word in text.split())

    ``predict`` takes and returns numpy arrays and is served as any model is, over the Open Inference Protocol and V1.
    Its annotations say what it takes: ``NDArray[np.float32]``, several parameters for several inputs, ``list[str]``
    for text. ``explain`` beside it takes the same inputs, and what it returns is the answer to V1's ``:explain``.

    Served, an instance is made without arguments, ``load`` is called once, and then the methods: plain ones in
    threads, several at a time, ``async`` ones on the event loop. In a test, do the same by hand: ``model = Mood();
    model.load(); assert model.classify("good") == 1``.

    A class that can be trained has a class method marked with :func:`pillion.train`, and ``save``, whose files
    ``load(self, artifact)`` reads.
    """

    device: str = "cpu"
    """Where to compute, set before ``load``."""

    def load(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - so that checkers take both forms of overriding
        """Make the model ready. Write ``load(self)``, or ``load(self, artifact)`` to be given the path of its files."""

    def save(self, path: Path) -> None:
        """Write what the model has learnt into the folder ``path``, for ``load(self, artifact)`` to read."""
        raise NotImplementedError(f"{type(self).__name__} has no save(self, path)")
