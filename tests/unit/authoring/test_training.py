"""Classes that can be trained: what is read of them, and what is refused; and trainings without a server."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - annotations are read at run time
from typing import Any, Self

import pytest
from pydantic import BaseModel

from pillion import Model, Run, Stream, task, train
from pillion.authoring.errors import AuthoringError
from pillion.authoring.signature import define


class Example(BaseModel):
    text: str
    label: int


class Kept(Model):
    def load(self, artifact: Path | None = None) -> None:
        self.words = {} if artifact is None else json.loads((artifact / "words.json").read_text())

    def save(self, path: Path) -> None:
        (path / "words.json").write_text(json.dumps(self.words))

    @task
    def classify(self, text: str) -> int:
        return int(self.words.get(text, 0))


class Words(Kept):
    @train
    @classmethod
    def fit(cls, data: Stream[Example], epochs: int = 1, *, run: Run) -> Self:
        """Learn words."""
        model, first = cls(), 0
        model.load()
        if (found := run.restore()) is not None:
            model.load(found.path)
            first = found.state["epoch"] + 1
        for epoch in range(first, epochs):
            for one in data:
                model.words[one.text] = model.words.get(one.text, 0) + one.label
            run.log(words=len(model.words))
            run.checkpoint(model, epoch=epoch)
            run.progress((epoch + 1) / epochs)
        return model


class Reversed(Kept):
    @classmethod
    @train(task="other")
    def fit(cls, data: Stream[Example]) -> Reversed:
        return cls()


def test_a_training_is_read_from_its_signature() -> None:
    training = define(Words).training

    assert training is not None
    assert "ClassifyWordsTrain" == training.name
    assert (["data"], ["epochs"]) == ([one.name for one in training.data], [one.name for one in training.plain])
    assert training.takes_run
    assert "Learn words." == training.summary


def test_the_decorators_come_in_either_order_and_the_mark_names_the_task() -> None:
    training = define(Reversed).training

    assert training is not None
    assert "OtherReversedTrain" == training.name


def test_a_class_is_trained_without_a_server(tmp_path: Path) -> None:
    run = Run(tmp_path)
    model = Words.fit(Stream([Example(text="good", label=1)]), epochs=2, run=run)

    assert 2 == model.classify("good")
    assert ([{"words": 1.0}, {"words": 1.0}], 1.0) == (run.logged, run.fraction)


def test_another_run_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    data = Stream([Example(text="good", label=1)])
    Words.fit(data, epochs=2, run=Run(tmp_path))
    again = Run(tmp_path)
    model = Words.fit(data, epochs=3, run=again)

    assert (3, 2) == (model.classify("good"), again.resumed_from)


def test_a_checkpoint_that_a_disk_has_spoiled_is_passed_over(tmp_path: Path) -> None:
    Words.fit(Stream([Example(text="good", label=1)]), epochs=3, run=Run(tmp_path))
    (tmp_path / "3" / "content" / "words.json").write_text("{}")
    found = Run(tmp_path).restore()

    assert found is not None
    assert (2, 1) == (found.number, found.state["epoch"])


def test_a_checkpoint_that_fails_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoint(epoch=1)
    with pytest.raises(IsADirectoryError), run.checkpointing(epoch=2) as folder:
        folder.write_text("not into a folder")

    assert ["1"] == [entry.name for entry in tmp_path.iterdir()]


def test_a_state_that_json_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        Run(tmp_path).checkpoint(epoch=object())


def test_only_numbers_are_logged() -> None:
    with pytest.raises(TypeError, match=r"run.log\(loss=...\): a number, not str"):
        Run().log(loss="small")  # type: ignore[arg-type]  # what is tested


def test_batches_hold_every_item_once() -> None:
    assert [[0, 1], [2, 3], [4]] == list(Stream(range(5)).batches(2))


def not_a_class_method() -> type[Any]:
    class Wrong(Kept):
        @train
        def fit(self, data: Stream[Example]) -> None: ...

    return Wrong


def without_save() -> type[Any]:
    class Wrong(Model):
        @task
        def classify(self) -> int:
            raise NotImplementedError

        @train
        @classmethod
        def fit(cls, data: Stream[Example]) -> Self:
            raise NotImplementedError

    return Wrong


def two_trainings() -> type[Any]:
    class Wrong(Words):
        @train
        @classmethod
        def more(cls, data: Stream[Example]) -> Self:
            raise NotImplementedError

    return Wrong


def another_return() -> type[Any]:
    class Wrong(Kept):
        @train
        @classmethod
        def fit(cls, data: Stream[Example]) -> int:
            raise NotImplementedError

    return Wrong


def unserved_type() -> type[Any]:
    class Wrong(Kept):
        @train
        @classmethod
        def fit(cls, data: Stream[Example], model: type) -> Self:
            raise NotImplementedError

    return Wrong


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (not_a_class_method, "Wrong.fit: a training makes a model, so it is a class method: add @classmethod"),
        (without_save, r"Wrong.fit: what it returns has to be kept: write save\(self, path\)"),
        (two_trainings, "Wrong: fit and more are both marked with @train"),
        (another_return, "Wrong.fit: it returns <class 'int'>, and has to return an instance of the class"),
        (unserved_type, "Wrong.fit, parameter model: the type type cannot be served"),
    ],
)
def test_a_class_that_cannot_be_trained_is_refused_with_the_place(made: Any, sentence: str) -> None:
    with pytest.raises(AuthoringError, match=sentence):
        define(made())


def test_a_misused_mark_is_refused_where_it_stands() -> None:
    with pytest.raises(AuthoringError, match=r"write @train\(task='classify'\)"):
        train("classify")
