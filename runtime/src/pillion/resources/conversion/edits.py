"""Changes to a manifest, made to its content and, with comments and order kept, to its text.

The content is the truth: a text is used only where it reads back as the changed content. Where that cannot be had,
as with anchors or values on one line, the caller writes the document anew.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from pillion.resources.documents import DocumentError, compose, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.rules import FieldPath

__all__ = ["Edit", "Put", "Remove", "Rename", "changed_content", "changed_text"]


@dataclass(frozen=True, slots=True)
class Put:
    """Give the entry at `path` a value; the entry is added where it is not there."""

    path: FieldPath
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the entry at `path` out, and objects that are empty then with it."""

    path: FieldPath


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the entry at `path` another key."""

    path: FieldPath
    key: str


Edit = Put | Remove | Rename


def changed_content(content: JsonObject, edits: Sequence[Edit]) -> JsonObject:
    """Return the content with the edits made; all paths are those of the content before any edit."""
    changed = copy.deepcopy(content)
    for edit in _in_order(_pruned(content, edits)):
        *parents, key = edit.path
        parent = _opened(changed, parents) if isinstance(edit, Put) else _at(changed, parents)
        if not isinstance(parent, dict) or not isinstance(key, str):
            raise TypeError(f"no object at {parents}")
        match edit:
            case Put():
                parent[key] = edit.value
            case Remove():
                parent.pop(key, None)
            case Rename():
                parent[edit.key] = parent.pop(key)
    return changed


def _opened(content: JsonObject, path: Sequence[str | int]) -> JsonValue:
    """Return what stands at `path`, an empty object where a key is there without a value."""
    if path and _at(content, path) is None:
        *parents, key = path
        parent = _opened(content, parents)
        if isinstance(parent, dict) and isinstance(key, str):
            parent[key] = {}
    return _at(content, path)


def changed_text(text: str, content: JsonObject, edits: Sequence[Edit]) -> str | None:
    """Return the text of one document with the edits made; None where the document has to be written anew."""
    node = compose(text)
    if not isinstance(node, yaml.MappingNode):
        return None
    try:
        pieces = sorted(_piece(text, node, edit) for edit in _pruned(content, edits))
    except _Unfit:
        return None
    made, since = "", 0
    for start, end, replacement in pieces:
        if start < since:
            return None
        made += text[since:start] + replacement
        since = end
    made += text[since:]
    try:
        found = [document.content for document in read_documents(made)]
    except DocumentError:
        return None
    return made if found == [changed_content(content, edits)] else None


class _Unfit(Exception):  # noqa: N818 - no error, but the way out to writing the document anew
    """The text is of a form that is not edited in place."""


def _in_order(edits: Sequence[Edit]) -> list[Edit]:
    """Return removals, then additions, then renamings from the inside out, so that paths stay good."""
    rank = {Remove: 0, Put: 1, Rename: 2}
    return sorted(edits, key=lambda edit: (rank[type(edit)], -len(edit.path)))


def _pruned(content: JsonObject, edits: Sequence[Edit]) -> list[Edit]:
    """Return the edits with the removal of all entries of an object turned into the removal of the object."""
    removed = {edit.path for edit in edits if isinstance(edit, Remove)}
    kept = {edit.path for edit in edits if not isinstance(edit, Remove)}
    while True:
        parents = {path[:-1] for path in removed if len(path) > 1 and path[:-1] not in removed}
        empty = {parent for parent in parents if _loses_everything(_at(content, parent), parent, removed, kept)}
        if not empty:
            break
        removed |= empty
    outermost = [path for path in removed if not any(path[:length] in removed for length in range(1, len(path)))]
    others = [edit for edit in edits if not isinstance(edit, Remove)]
    return [*others, *(Remove(path) for path in sorted(outermost, key=str))]


def _loses_everything(value: JsonValue, path: FieldPath, removed: set[FieldPath], kept: set[FieldPath]) -> bool:
    if not isinstance(value, dict) or any(other[: len(path)] == path for other in kept):
        return False
    return all((*path, key) in removed for key in value)


def _at(content: JsonValue, path: Sequence[str | int]) -> JsonValue:
    for part in path:
        if isinstance(content, dict) and isinstance(part, str):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part]
        else:
            return None
    return content


def _piece(text: str, root: yaml.MappingNode, edit: Edit) -> tuple[int, int, str]:
    """Return which part of the text the edit replaces, and by what."""
    *parents, last = edit.path
    parent = _node_at(root, parents)
    entries = list(_entries(parent))
    index = next((number for number, (key, _) in enumerate(entries) if key.value == last), None)
    if index is None:
        if not isinstance(edit, Put):
            raise _Unfit
        return _addition(parent, str(last), edit.value)
    key, value = entries[index]
    match edit:
        case Rename():
            return key.start_mark.index, key.end_mark.index, _scalar(edit.key, like=key)
        case Put():
            if (
                not isinstance(value, yaml.ScalarNode)
                or value.style in {"|", ">"}
                or isinstance(edit.value, dict | list)
            ):
                raise _Unfit
            return value.start_mark.index, value.end_mark.index, _scalar(edit.value, like=value)
        case Remove():
            return _removal(text, parent, entries, index)


def _addition(parent: yaml.MappingNode, key: str, value: JsonValue) -> tuple[int, int, str]:
    """Return a new first entry."""
    if parent.flow_style:
        start = parent.start_mark.index + 1
        separator = ", " if parent.value else ""
        return start, start, f"{_flow(parent, key, value)}{separator}"
    if not parent.value:
        raise _Unfit
    first = parent.value[0][0].start_mark
    dumped = yaml.safe_dump({key: value}, sort_keys=False, width=120).rstrip("\n")
    indent = " " * first.column
    return first.index, first.index, dumped.replace("\n", f"\n{indent}") + f"\n{indent}"


def _removal(
    text: str, parent: yaml.MappingNode, entries: list[tuple[yaml.ScalarNode, yaml.Node]], index: int
) -> tuple[int, int, str]:
    key, value = entries[index]
    following = entries[index + 1][0].start_mark.index if index + 1 < len(entries) else None
    if parent.flow_style:
        if following is not None:
            return key.start_mark.index, following, ""
        if index == 0:
            raise _Unfit
        return entries[index - 1][1].end_mark.index, value.end_mark.index, ""
    line_start = text.rfind("\n", 0, key.start_mark.index) + 1
    if text[line_start : key.start_mark.index].strip():
        # The first entry of a list's item stands behind the dash: the next entry takes its place.
        if following is None:
            raise _Unfit
        return key.start_mark.index, following, ""
    end = _last_character(key, value)
    if end and text[end - 1] == "\n":
        return line_start, end, ""
    line_end = text.find("\n", end)
    return line_start, len(text) if line_end < 0 else line_end + 1, ""


def _last_character(key: yaml.Node, value: yaml.Node) -> int:
    """Return where the entry ends, without the comments after it that a block's own end would take along."""
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        return max(_last_character(inner, given) for inner, given in value.value)
    if isinstance(value, yaml.SequenceNode) and not value.flow_style and value.value:
        return max(_last_character(item, item) for item in value.value)
    return max(int(key.end_mark.index), int(value.end_mark.index))


def _node_at(root: yaml.MappingNode, path: Sequence[str | int]) -> yaml.MappingNode:
    node: yaml.Node = root
    for part in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in _entries(node) if key.value == part), root)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        if node is root:
            raise _Unfit
    if not isinstance(node, yaml.MappingNode):
        raise _Unfit
    return node


def _entries(node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            raise _Unfit
        yield key, value


def _flow(parent: yaml.MappingNode, key: str, value: JsonValue) -> str:
    """Return the entry on one line: as JSON among JSON, else as YAML."""
    quoted = all(isinstance(entry, yaml.ScalarNode) and entry.style == '"' for entry, _ in parent.value)
    if quoted:
        return f"{json.dumps(key)}: {json.dumps(value)}"
    return yaml.safe_dump({key: value}, default_flow_style=True, width=10**6).strip()[1:-1]


def _scalar(value: JsonValue, like: yaml.ScalarNode) -> str:
    """Return the value as it stands on one line, in quotes where the one before was."""
    if isinstance(value, str) and like.style != '"':
        plain = yaml.safe_dump(value, width=10**6).removesuffix("\n...\n").rstrip("\n")
        return plain if "\n" not in plain else json.dumps(value)
    return json.dumps(value)
