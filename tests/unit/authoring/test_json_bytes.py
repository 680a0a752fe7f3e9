"""Bytes in the JSON of tasks: base64 in both ways, wherever in a type they are."""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from pydantic import (
    Base64Bytes,
    Base64Str,
    Base64UrlBytes,
    BaseModel,
    ConfigDict,
    EncodedBytes,
    EncoderProtocol,
    Field,
    RootModel,
    SecretBytes,
    field_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass
from typing_extensions import TypedDict

from pillion import Model, Run, Stream, task, train
from pillion.authoring.errors import ResultError
from pillion.authoring.results import plain
from pillion.authoring.signature import define
from pillion.authoring.training import training_of
from pillion.errors import PillionError
from pillion.protocol.task_json import arguments_of, encode_result
from pillion.protocol.task_message import decode_request, encode_response
from pillion.protocol.task_schema import service_schema
from pillion.transport.http.openapi_tasks import exact

if TYPE_CHECKING:
    from pathlib import Path

RAW = b"\xff\x00\xfe any"
TEXT = base64.b64encode(RAW).decode()
URL = base64.urlsafe_b64encode(RAW).decode()


class Page(BaseModel):
    raw: bytes


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, val_json_bytes="utf8")

    raw: Annotated[bytes, Field(min_length=2, max_length=20)] = b"--"
    type: Literal["strict"] = "strict"


class Loose(BaseModel):
    type: Literal["loose"] = "loose"
    default: dict[str, bytes | None]


class Tree(BaseModel):
    raw: bytes
    below: list[Tree] = []


class Watched(BaseModel):
    raw: bytes

    @field_validator("raw")
    @classmethod
    def seen(cls, raw: bytes) -> bytes:
        return raw + b"!"


class Encoded(BaseModel):
    raw: Base64Bytes
    other: bytes = b""


class Hex(EncoderProtocol):
    @classmethod
    def decode(cls, data: bytes) -> bytes:
        return bytes.fromhex(data.decode())

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value.hex().encode()

    @classmethod
    def get_json_format(cls) -> str:
        return "hex"


HexBytes = Annotated[bytes, EncodedBytes(encoder=Hex)]


class OwnText(BaseModel):
    """Each type that writes its values as text by itself."""

    standard: Base64Bytes
    url: Base64UrlBytes | None = None
    limited: Annotated[Base64Bytes, Field(max_length=9)] = b""
    hex: list[HexBytes] = []
    text: Base64Str = ""
    below: list[OwnText] = []


def own_text(*below: OwnText) -> OwnText:
    return OwnText.model_construct(standard=RAW, url=RAW, limited=b"12345", hex=[RAW], text="any", below=list(below))


class RootText(RootModel[Base64Bytes]):
    pass


@dataclasses.dataclass
class PlainText:
    raw: Base64Bytes
    model: OwnText
    root: RootText


class Secret(BaseModel):
    key: SecretBytes


class Root(RootModel[list[bytes]]):
    pass


@checked_dataclass
class Checked:
    raw: bytes


@dataclasses.dataclass
class Plain:
    raw: bytes
    page: Page | None = None


class Named(TypedDict):
    raw: bytes


class Said(Model):
    @task
    def page(self, it: Page) -> Page:
        raise NotImplementedError

    @task
    def tagged(self, it: Annotated[Strict | Loose, Field(discriminator="type")]) -> Strict | Loose:
        raise NotImplementedError

    @task
    def tree(self, it: Tree) -> Tree:
        raise NotImplementedError

    @task
    def watched(self, it: Watched) -> Watched:
        raise NotImplementedError

    @task
    def encoded(self, it: Encoded) -> Encoded:
        raise NotImplementedError

    @task
    def own_text(self, it: OwnText) -> OwnText:
        raise NotImplementedError

    @task
    def plain_text(self, it: PlainText) -> PlainText:
        raise NotImplementedError

    @task
    def url_alone(self, it: Base64UrlBytes) -> Base64UrlBytes:
        raise NotImplementedError

    @task
    def secret(self, it: Secret) -> Secret:
        raise NotImplementedError

    @task
    def alone(self, it: bytes) -> bytes:
        raise NotImplementedError

    @task
    def root(self, it: Root) -> Root:
        raise NotImplementedError

    @task
    def checked(self, it: Checked) -> Checked:
        raise NotImplementedError

    @task
    def plain(self, it: Plain) -> Plain:
        raise NotImplementedError

    @task
    def named(self, it: Named) -> Named:
        raise NotImplementedError


TASKS = {one.name: one for one in define(Said).tasks}


def taken(name: str, document: Any) -> Any:
    return arguments_of(TASKS[name], orjson.dumps({"it": document}))["it"]


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("page", {"raw": TEXT}, Page(raw=RAW)),
        ("tagged", {"type": "strict", "raw": TEXT}, Strict(raw=RAW)),
        ("tagged", {"type": "loose", "default": {"type": TEXT, "b": None}}, Loose(default={"type": RAW, "b": None})),
        ("tree", {"raw": TEXT, "below": [{"raw": TEXT, "below": []}]}, Tree(raw=RAW, below=[Tree(raw=RAW)])),
        ("checked", {"raw": TEXT}, Checked(RAW)),
        ("plain", {"raw": TEXT, "page": {"raw": TEXT}}, Plain(RAW, Page(raw=RAW))),
        ("named", {"raw": TEXT}, {"raw": RAW}),
    ],
)
def test_what_a_task_takes_it_gives_in_the_same_text(name: str, document: Any, expected: object) -> None:
    found = taken(name, document)

    assert expected == found
    assert type(expected) is type(found)
    given = orjson.loads(encode_result(plain(found, TASKS[name].returns, "result")))
    assert document == given


def empty_left_out(document: Any) -> Any:
    """Without empty lists, which protobuf does not tell from none."""
    if isinstance(document, dict):
        return {key: empty_left_out(value) for key, value in document.items() if value != []}
    return [empty_left_out(value) for value in document] if isinstance(document, list) else document


OWN = {
    "standard": TEXT, "url": URL, "limited": "MTIzNDU=", "hex": [RAW.hex()], "text": "YW55", "below": []
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("own_text", OWN | {"below": [OWN]}, own_text(own_text())),
        ("plain_text", {"raw": TEXT, "model": OWN, "root": TEXT},
         PlainText(RAW, own_text(), RootText.model_construct(RAW))),
        ("url_alone", URL, RAW),
    ],
)  # fmt: skip
def test_a_type_that_writes_text_by_itself_is_that_text_on_both_protocols(
    name: str, document: Any, expected: object
) -> None:
    task = TASKS[name]
    found = taken(name, document)
    given = plain(found, task.returns, "result")

    assert expected == found
    assert document == orjson.loads(encode_result(given))
    schema = service_schema("Said", [task]).methods[0]
    told = MessageToDict(schema.response.FromString(encode_response(schema, task, given)))["result"]
    assert told == empty_left_out(document)
    request = ParseDict({"it": document}, schema.request()).SerializeToString()
    assert expected == decode_request(schema, task, request)["it"]


@pytest.mark.parametrize(("sent", "read"), [(URL, RAW), (TEXT.rstrip("="), RAW), (f"{TEXT[:5]}\n{TEXT[5:]}", RAW)])
def test_base64_of_such_a_type_is_read_in_each_of_its_forms(sent: str, read: bytes) -> None:
    assert read == taken("own_text", {"standard": sent}).standard


def test_base64_that_is_none_is_refused_and_not_read_in_part() -> None:
    with pytest.raises(PillionError, match=r"^it\.standard: Data should be valid base64"):
        taken("own_text", {"standard": "YW55!"})


def test_what_a_method_gives_beside_its_type_is_an_error_of_the_model() -> None:
    with pytest.raises(ResultError, match=r"result is int, and bytes are declared"):
        plain(5, TASKS["url_alone"].returns, "result")


def test_a_secret_is_text_as_its_description_says() -> None:
    found = taken("secret", {"key": "open sesame"})

    assert found.key.get_secret_value() == b"open sesame"
    assert plain(found, TASKS["secret"].returns, "result") == {"key": "**********"}


def test_the_document_says_how_a_type_writes_its_text() -> None:
    for adapter in (TASKS["own_text"].arguments, TASKS["own_text"].answer):
        fields = exact(adapter.json_schema())["$defs"]["OwnText"]["properties"]
        assert fields["standard"]["contentEncoding"] == "base64"
        assert fields["url"]["anyOf"][0]["contentEncoding"] == "base64url"
        assert fields["hex"]["items"]["format"] == "hex"


def test_a_type_that_encodes_bytes_by_itself_reads_them_as_it_did() -> None:
    assert Encoded.model_construct(raw=RAW, other=RAW) == taken("encoded", {"raw": TEXT, "other": TEXT})


def test_a_model_that_is_a_list_reads_what_is_in_it() -> None:
    assert Root([RAW, b""]) == taken("root", [TEXT, ""])


@pytest.mark.parametrize("text", ["-_8", "-_8=", "+/8=", "+/8"])
def test_both_alphabets_are_read_with_and_without_padding(text: str) -> None:
    assert Page(raw=b"\xfb\xff") == taken("page", {"raw": text})


@pytest.mark.parametrize(
    ("name", "document", "said"),
    [
        ("page", {"raw": "not base64!"}, r"^it\.raw: Data should be valid base64"),
        ("page", {"raw": "grün"}, r"^it\.raw: Data should be valid base64"),
        ("page", {"raw": 5}, r"^it\.raw: should be .*bytes"),
        ("tree", {"raw": TEXT, "below": [{"raw": "a"}]}, r"^it\.below\[0\]\.raw: Data should be valid base64"),
        ("tagged", {"type": "strict", "raw": "YQ=="}, r"raw: Data should have at least 2 bytes"),
    ],
)
def test_what_is_none_is_refused_at_its_place(name: str, document: Any, said: str) -> None:
    with pytest.raises(PillionError, match=said):
        taken(name, document)


def test_what_a_class_does_with_its_bytes_it_does_with_those_that_were_sent() -> None:
    assert Watched.model_construct(raw=RAW + b"!") == taken("watched", {"raw": TEXT})


def test_the_class_itself_reads_json_as_it_says() -> None:
    taken("page", {"raw": TEXT})

    assert Page(raw=b"text") == Page.model_validate_json('{"raw": "text"}')
    assert Page.__pydantic_complete__
    assert Checked.__pydantic_complete__  # type: ignore[attr-defined] # pydantic's own of its dataclasses


@pytest.mark.parametrize("name", ["page", "tree", "checked", "plain", "named", "alone"])
def test_the_document_says_so_of_arguments_and_results(name: str) -> None:
    task = TASKS[name]
    for text in (exact(task.arguments.json_schema()), exact(task.answer.json_schema(mode="serialization"))):
        assert b'"contentEncoding":"base64"' in orjson.dumps(text)
        assert b'"format":"binary"' not in orjson.dumps(text)


class Learns(Model):
    @task
    def page(self, it: Page) -> bytes:
        raise NotImplementedError

    @classmethod
    @train
    def learn(cls, data: Stream[Page], first: Page, run: Run) -> Learns:
        raise NotImplementedError

    def save(self, path: Path) -> None:
        raise NotImplementedError


def test_a_training_takes_the_same() -> None:
    signature = training_of(Learns, "page")
    assert signature is not None
    given = signature.arguments.validate_json(orjson.dumps({"data": [{"raw": TEXT}], "first": {"raw": TEXT}}))

    assert {"data": [Page(raw=RAW)], "first": Page(raw=RAW)} == given
