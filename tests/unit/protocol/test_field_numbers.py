"""Numbers of protobuf fields that stay, whatever happens to the class."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pillion import Model, task
from pillion.authoring.errors import AuthoringError
from pillion.authoring.field_numbers import LOCK_NAME, FieldLock, lock_text, read_lock
from pillion.authoring.signature import define
from pillion.protocol.task_schema import service_schema

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.protocol.task_schema import ServiceSchema

NAME = "mood.MoodService"


def schema(classify: Any, lock: FieldLock | None = None) -> ServiceSchema:
    cls = type("Mood", (Model,), {"classify": task(classify)})
    return service_schema("Mood", define(cls).tasks, lock)


def locked(made: ServiceSchema) -> FieldLock:
    return FieldLock(1, {NAME: made.numbers})


def numbers(made: ServiceSchema, message: str = "ClassifyRequest") -> dict[str, int]:
    found = next(one for one in made.file.message_type if one.name == message)
    return {field.name: field.number for field in found.field}


def first(self: Any, text: str, top_k: int = 1) -> int:
    return 1


def grown(self: Any, fresh: str = "", top_k: int = 1, text: str = "") -> int:
    return 1


def shrunk(self: Any, text: str) -> int:
    return 1


def other(self: Any, text: str, later: float = 0.0) -> int:
    return 1


def retyped(self: Any, text: int, top_k: int = 1) -> int:
    return 1


def test_without_a_lock_the_order_is_the_number_and_nothing_is_behind() -> None:
    made = schema(first)
    assert numbers(made) == {"text": 1, "top_k": 2}
    assert not made.changes


def test_fields_keep_their_numbers_wherever_they_are_declared() -> None:
    made = schema(grown, locked(schema(first)))
    assert numbers(made) == {"text": 1, "top_k": 2, "fresh": 3}
    assert str(made.changes) == "new: ClassifyRequest.fresh"


def test_the_number_of_a_field_that_is_gone_is_reserved_for_it() -> None:
    gone = schema(shrunk, locked(schema(first)))
    message = gone.file.message_type[0]
    assert [(one.start, one.end) for one in message.reserved_range] == [(2, 3)]
    assert list(message.reserved_name) == ["top_k"]
    assert str(gone.changes) == "gone: ClassifyRequest.top_k"
    # Another field does not get it, and the field itself does.
    assert numbers(schema(other, locked(gone))) == {"text": 1, "later": 3}
    back = schema(first, locked(schema(other, locked(gone))))
    assert numbers(back) == {"text": 1, "top_k": 2}
    assert [one.start for one in back.file.message_type[0].reserved_range] == [3]


def test_a_field_of_another_type_gets_another_number() -> None:
    made = schema(retyped, locked(schema(first)))
    assert numbers(made) == {"text": 3, "top_k": 2}
    message = made.file.message_type[0]
    assert [one.start for one in message.reserved_range] == [1]
    assert not message.reserved_name, "the name is in use"
    assert [str(one) for one in made.changes.types] == ["ClassifyRequest.text was string and is int64"]
    again = schema(first, locked(made))
    assert numbers(again) == {"text": 1, "top_k": 2}, "as it was, it is what old clients mean"


def test_a_task_that_comes_back_has_the_numbers_that_it_had() -> None:
    def fresh(self: Any, text: str) -> int:
        return 1

    without = service_schema(
        "Mood",
        define(type("Mood", (Model,), {"fresh": task(fresh)})).tasks,
        locked(schema(grown, locked(schema(first)))),
    )
    assert "ClassifyRequest" in without.changes.removed
    assert numbers(schema(grown, locked(without))) == {"fresh": 3, "text": 1, "top_k": 2}


def test_numbers_that_protobuf_keeps_are_left_out() -> None:
    made = schema(first)
    message = made.numbers["ClassifyRequest"]
    fields = {**message.fields, "top_k": msgspec.structs.replace(message.fields["top_k"], number=18999)}
    lock = FieldLock(1, {NAME: {**made.numbers, "ClassifyRequest": msgspec.structs.replace(message, fields=fields)}})
    assert numbers(schema(grown, lock))["fresh"] == 20000


@dataclasses.dataclass
class Label:
    text: str
    score: float


def test_a_class_is_one_message_in_all_tasks() -> None:
    class Two(Model):
        @task
        def one(self, label: Label) -> Label:
            return label

        @task
        def two(self, labels: list[Label]) -> int:
            return 1

    names = [message.name for message in service_schema("Two", define(Two).tasks).file.message_type]
    assert names.count("Label") == 1
    assert not [name for name in names if name.startswith("Label") and name != "Label"]


def test_the_file_says_what_was_written(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    numbered = schema(shrunk, locked(schema(first))).numbers
    (tmp_path / LOCK_NAME).write_text(lock_text({NAME: numbered}))
    read = read_lock(tmp_path)
    assert read is not None
    assert read.services == {NAME: numbered}
    assert lock_text(read.services) == (tmp_path / LOCK_NAME).read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<<<<<<< HEAD", "malformed"),
        ('{"version": 3}', "version"),
        ('{"services": {"a.B": {"M": {"fields": {"x": {"number": 0, "type": "string"}}}}}}', ">= 1"),
        ('{"services": {"a.B": {"M": {"fields": {"x": {"number": 19001, "type": "string"}}}}}}', "keeps for itself"),
        (
            '{"services": {"a.B": {"M": {"fields": {"x": {"number": 3, "type": ""}, "": {"number": 3, "type": ""}}}}}}',
            "a.B, M: the number 3 is given twice",
        ),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text)
    with pytest.raises(AuthoringError, match=told) as refused:
        read_lock(tmp_path)
    assert str(tmp_path / LOCK_NAME) in str(refused.value)
