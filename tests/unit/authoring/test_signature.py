"""What a class says of itself, and the start errors of one that cannot be served."""

from __future__ import annotations

import collections.abc  # noqa: TC003 - annotations are read at run time, here and below
import dataclasses
import datetime as dt
import enum
import functools
from typing import Annotated, Any, Literal, NewType

import numpy as np
import pytest
from numpy.typing import NDArray  # noqa: TC002 - as above
from pydantic import BaseModel, Field, ValidationError

from pillion import Batch, Model, task
from pillion.authoring.errors import AuthoringError
from pillion.authoring.examples import example
from pillion.authoring.signature import TaskSignature, define


class Tone(enum.Enum):
    DRY = "dry"
    WARM = "warm"


class Options(BaseModel):
    limit: int = Field(ge=1)
    tags: list[str] = []


@dataclasses.dataclass
class Picture:
    pixels: NDArray[np.uint8]
    taken: dt.datetime | None = None


class Everything(Model):
    @task
    def describe(
        self,
        text: str,
        pictures: list[Picture],
        options: Options | None = None,
        tone: Tone = Tone.DRY,
        size: Literal["s", "l"] = "s",
        weights: dict[str, float] | None = None,
        share: Annotated[float, Field(gt=0, le=1)] = 1.0,
        raw: bytes = b"",
        extra: Any = None,
    ) -> dict[str, int]:
        """Say what is there.

        And more of it.
        """
        return {"pictures": len(pictures)}


def signature(cls: type[Model], name: str | None = None) -> TaskSignature:
    tasks = define(cls).tasks
    return tasks[0] if name is None else next(task for task in tasks if task.name == name)


def test_arguments_become_the_types_of_the_annotations() -> None:
    body = (
        b'{"text": "", "pictures": [{"pixels": [[0, 255]], "taken": "2026-01-02T03:04:05Z"}], "options": {"limit": 1},'
        b' "tone": "warm", "size": "l", "weights": {"a": 1}, "raw": "aGk=", "extra": [1, null]}'
    )
    given = signature(Everything).arguments.validate_json(body)
    (picture,) = given.pop("pictures")
    assert isinstance(picture, Picture)
    assert (np.dtype(np.uint8), [[0, 255]]) == (picture.pixels.dtype, picture.pixels.tolist())
    assert dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC) == picture.taken
    expected = {"text": "", "options": Options(limit=1), "tone": Tone.WARM, "size": "l", "weights": {"a": 1.0}}
    assert expected | {"raw": b"hi", "extra": [1, None]} == given


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("text", "5", ("text",)),
        ("pictures", '[{"pixels": [[1], [2, 3]]}]', ("pictures", 0, "pixels")),
        ("pictures", '[{"pixels": [[300]]}]', ("pictures", 0, "pixels")),
        ("pictures", '[{"pixels": [[1.5]]}]', ("pictures", 0, "pixels")),
        ("pictures", '[{"pixels": ["a"]}]', ("pictures", 0, "pixels")),
        ("pictures", '[{"pixels": [0], "taken": "soon"}]', ("pictures", 0, "taken")),
        ("pictures", '[{"pixel": [0]}]', ("pictures", 0, "pixels")),
        ("options", '{"limit": 0}', ("options", "limit")),
        ("options", '{"limit": 1, "tags": [1]}', ("options", "tags", 0)),
        ("tone", '"loud"', ("tone",)),
        ("size", '"xl"', ("size",)),
        ("weights", '{"a": "b"}', ("weights", "a")),
        ("share", "2", ("share",)),
        ("raw", '"*"', ("raw",)),
        ("other", "1", ("other",)),
    ],
)
def test_a_value_that_does_not_fit_is_found_at_its_place(field: str, value: str, place: tuple[str | int, ...]) -> None:
    fields = {"text": '"a"', "pictures": "[]"} | {field: value}
    body = "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"
    with pytest.raises(ValidationError) as failure:
        signature(Everything).arguments.validate_json(body)
    assert place == failure.value.errors()[0]["loc"]


def test_a_first_call_made_of_examples_is_valid() -> None:
    described = signature(Everything)
    shown = {parameter.name: example(parameter.type) for parameter in described.parameters if parameter.required}
    assert ["text", "pictures"] == list(described.arguments.validate_python(shown))


def test_the_docstring_is_summary_and_description() -> None:
    assert ("Say what is there.", "And more of it.") == (
        signature(Everything).summary,
        signature(Everything).description,
    )


def test_an_overriding_method_stays_a_task() -> None:
    class Quiet(Everything):
        def describe(self, text: str) -> str:  # type: ignore[override] # another signature, to see which one counts
            return text

    assert "text" == signature(Quiet).names


def test_a_task_may_have_a_name_of_its_own() -> None:
    class Named(Model):
        @task("say-it")
        def method(self, text: str) -> str:
            return text

    assert ("say-it", "method") == (signature(Named).name, signature(Named).method)


def test_a_method_marked_as_task_is_still_the_method() -> None:
    assert {"pictures": 0} == Everything().describe("a", [])


def _awaiting(method: Any) -> Any:
    @functools.wraps(method)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def test_a_decorated_method_keeps_its_signature_and_is_awaited_where_that_is_needed() -> None:
    class Wrapped(Model):
        @task
        @_awaiting
        def say(self, text: str) -> str:
            return text

        @_awaiting
        @task
        def shout(self, text: str) -> str:
            return text.upper()

    assert [("say", "text", True), ("shout", "text", True)] == [
        (one.name, one.names, one.asynchronous) for one in define(Wrapped).tasks
    ]


UserId = NewType("UserId", int)


def test_a_new_type_is_the_type_behind_it() -> None:
    class Users(Model):
        @task
        def find(self, user: UserId) -> UserId:
            return user

    assert {"user": 5} == signature(Users).arguments.validate_json(b'{"user": 5}')


class _Streams(Model):
    @task
    def words(self, text: str) -> list[str]:  # type: ignore[misc] # the mistake that is to be told
        yield from text.split()


class _StreamsIn(Model):
    @task
    def words(self, texts: list[collections.abc.Iterator[str]]) -> int:
        return len(texts)


class _AsyncStreamIn(Model):
    @task
    def words(self, texts: collections.abc.AsyncIterator[str]) -> int:
        return 0


class _BatchOfText(Model):
    @task(batch=Batch(max_size=2))
    def words(self, text: str) -> list[int]:
        return [len(text)]


class _Unknown(Model):
    @task
    def add(self, number: np.random.Generator) -> int:
        return int(number.integers(1))


class _Variadic(Model):
    @task
    def add(self, *numbers: int) -> int:
        return sum(numbers)


class _Reserved(Model):
    @task
    def docs(self) -> int:
        return 1


class _Twice(Model):
    @task
    def add(self) -> int:
        return 1

    @task("add")
    def plus(self) -> int:
        return 1


class _Nothing(Model):
    pass


class _LoadsTwo(Model):
    def load(self, artifact: object, other: object) -> None:
        pass

    @task
    def add(self) -> int:
        return 1


class _Keys(Model):
    @task
    def add(self, counts: dict[int, int]) -> int:
        return 1


class _ArrayInModel(BaseModel, arbitrary_types_allowed=True):
    pixels: np.ndarray


class _Arrays(Model):
    @task
    def see(self, picture: _ArrayInModel) -> int:
        return 1


class _PredictsDict(Model):
    def predict(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": x}


class _PredictsText(Model):
    def predict(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (_Streams, r"_Streams.words: it yields, and declares to return list\[str\]: make that Iterator"),
        (_StreamsIn, "_StreamsIn.words, parameter texts: .*only a whole result can come as a stream"),
        (
            _AsyncStreamIn,
            r"_AsyncStreamIn.words, parameter texts: an async method is given AsyncIterator\[...\], a plain",
        ),
        (
            _BatchOfText,
            "_BatchOfText.words, parameter text: with batch= a method is given a list of what requests bring",
        ),
        (_Unknown, "_Unknown.add, parameter number: the type Generator cannot be served"),
        (_Variadic, "_Variadic.add, parameter numbers: .*no \\*"),
        (_Reserved, '_Reserved.docs: .*is a route of the server.*@task\\("name"\\)'),
        (_Twice, "_Twice: add and plus are both the task 'add'"),
        (_Nothing, "_Nothing has neither predict nor a task: mark a method with @task"),
        (_LoadsTwo, "_LoadsTwo.load: .*load\\(self\\) or load\\(self, artifact\\)"),
        (_Keys, "_Keys.add, parameter counts: .*keys are text"),
        (_Arrays, "_ArrayInModel.pixels holds an array or a file: make it a dataclass"),
        (_PredictsDict, "_PredictsDict.predict: several outputs are declared by a TypedDict"),
        (_PredictsText, "_PredictsText.predict, parameter text: .*mark another method with @task"),
        (str, "str is not a pillion.Model: write class str\\(Model\\)"),
    ],
)
def test_a_class_that_cannot_be_served_is_told_where_and_why(cls: type[Any], sentence: str) -> None:
    with pytest.raises(AuthoringError, match=sentence):
        define(cls)


class Explained(Model):
    def predict(self, x: NDArray[np.float32], y: list[str]) -> NDArray[np.float32]:
        return x

    async def explain(self, y: list[str], top: int = 3) -> object:
        return y


def test_explain_takes_inputs_of_predict() -> None:
    explain = define(Explained).explain

    assert explain is not None
    assert (frozenset({"y"}), True) == (explain.inputs, explain.asynchronous)


def test_a_class_without_explain_explains_nothing() -> None:
    assert define(Everything).explain is None


class Alone(Everything):
    def explain(self, text: str) -> str:
        return text


class Other(Explained):
    def explain(self, z: list[str]) -> object:  # type: ignore[override]  # what is to be refused
        return z


class Yielding(Explained):
    def explain(self, y: list[str]) -> object:  # type: ignore[override]  # what is to be refused
        yield y


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Alone, "Alone.explain: explains predict, and there is none"),
        (Other, "Other.explain, parameter z: predict takes x, y"),
        (Yielding, "Yielding.explain: streaming"),
    ],
)
def test_an_explain_that_cannot_be_called_is_a_start_error(cls: type[Model], text: str) -> None:
    with pytest.raises(AuthoringError, match=text):
        define(cls)
