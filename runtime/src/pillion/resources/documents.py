"""Reads YAML and JSON as kubectl does, and remembers the line of every field.

kubectl's reader differs from PyYAML's: `yes` and `on` are texts, dates are texts, `1:30` is a text and `1e3` a number.
What is read here is what the API server would get. Source: sigs.k8s.io/yaml, which kubectl uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.rules import FieldPath

#: More nodes than any manifest has; aliases of aliases reach it at once.
NODE_LIMIT = 200_000


class DocumentError(Exception):
    """The text is no YAML that a manifest can be read from."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its content and where each field stands.

    Attributes:
        content: the document as JSON.
        line: its first line, counted from one.
        lines: the line of each field and list item.
    """

    content: JsonValue
    line: int
    lines: Mapping[FieldPath, int] = field(default_factory=dict)

    def line_of(self, path: FieldPath) -> int:
        """Return the line of the field, or of the nearest one around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return self.line


class _Loader(yaml.SafeLoader):
    """PyYAML with kubectl's idea of plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def read_documents(text: str) -> Iterator[Document]:
    """Yield the documents of `text`, empty ones left out.

    Raises `DocumentError` with the line where the text is no YAML, has a key twice, or is too deep or too large.
    """
    try:
        yield from _documents(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context or "not YAML"
        raise DocumentError(f"cannot be read as YAML: {said}", mark.line + 1 if mark else 1) from error
    except yaml.YAMLError as error:
        raise DocumentError(f"cannot be read as YAML: {str(error).splitlines()[0]}", 1) from error
    except RecursionError:
        raise DocumentError("is nested too deeply to be a manifest", 1) from None


def compose(text: str) -> yaml.Node | None:
    """Return the tree of the one document in `text`, for whoever changes the text; None where it cannot be read."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError):
        return None
    return node


def _documents(text: str) -> Iterator[Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
                continue
            reading = _Reading(loader)
            content = reading.value(node, ())
            yield Document(content, node.start_mark.line + 1, reading.lines)
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Reading:
    loader: _Loader
    lines: dict[FieldPath, int] = field(default_factory=dict)
    nodes: int = 0

    def value(self, node: yaml.Node, path: FieldPath) -> JsonValue:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > NODE_LIMIT:
            raise DocumentError(f"has more than {NODE_LIMIT} values; are its aliases nested?", line)
        self.lines.setdefault(path, line)
        match node:
            case yaml.MappingNode():
                return self.mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        scalar = self.loader.construct_object(node)
        if isinstance(scalar, str | int | float | bool) or scalar is None:
            return scalar
        raise DocumentError(f"{node.tag} is no type that JSON has; write it as text", line)

    def mapping(self, node: yaml.MappingNode, path: FieldPath) -> JsonObject:
        own: set[str] = set()
        for key_node, _ in node.value:
            key, line = self.key(key_node), key_node.start_mark.line + 1
            if key in own and key != "<<":
                raise DocumentError(f"'{key}' stands twice; keep one of the two", line)
            own.add(key)
        self.loader.flatten_mapping(node)
        content: JsonObject = {}
        for key_node, value_node in node.value:
            key = self.key(key_node)
            self.lines[*path, key] = key_node.start_mark.line + 1
            content[key] = self.value(value_node, (*path, key))
        return content

    def key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:merge":
            return "<<"
        key = cast("Hashable", self.loader.construct_object(node, deep=True))
        if not isinstance(key, str):
            raise DocumentError(f"the key {key!r} is no text; put it in quotes", node.start_mark.line + 1)
        return key
