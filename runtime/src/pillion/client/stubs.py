"""Typed code for a server's tasks, written from its own description."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion.client.description import TaskSpec

__all__ = ["source_of"]

_HEAD: Final = '''"""The tasks of {url}. Written by `pillion client-stubs`: write it anew instead of changing it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NotRequired, TypedDict, cast

from pillion import AsyncClient, Client, File

__all__ = ["AsyncTasks", "Tasks"]
'''
_SIMPLE: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def source_of(document: Mapping[str, Any], specs: Iterable[TaskSpec], url: str) -> str:
    """A module with a class of the tasks for each client, and a ``TypedDict`` for each type that they use.

    Args:
        document: the server's OpenAPI document.
        specs: its tasks.
        url: of the server, told in the module's docstring.
    """
    known = list(specs)
    schemas: Mapping[str, Any] = document.get("components", {}).get("schemas", {})
    used: dict[str, None] = {}
    for spec in known:
        for schema in [*spec.parameters.values(), *([spec.result] if spec.result is not None else [])]:
            _collect(schema, schemas, used)
    blocks = [_HEAD.format(url=url)]
    blocks += [_record(name, schemas[name]) for name in used]
    blocks += [_class("Tasks", "Client", known, asynchronous=False)]
    blocks += [_class("AsyncTasks", "AsyncClient", known, asynchronous=True)]
    return "\n\n".join(block.rstrip() + "\n" for block in blocks)


def _collect(schema: Any, schemas: Mapping[str, Any], used: dict[str, None]) -> None:  # noqa: ANN401 - JSON
    if isinstance(schema, dict):
        name = _referred(schema)
        if name is not None and name not in used and name in schemas:
            used[name] = None
            _collect(schemas[name], schemas, used)
        for value in schema.values():
            _collect(value, schemas, used)
    elif isinstance(schema, list):
        for value in schema:
            _collect(value, schemas, used)


def _referred(schema: Mapping[str, Any]) -> str | None:
    reference = schema.get("$ref")
    return str(reference).rpartition("/")[2] if isinstance(reference, str) else None


def _named(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _usable(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _type(schema: Mapping[str, Any]) -> str:
    """Python's type for what JSON has there."""
    name = _referred(schema)
    if name is not None:
        return _named(name)
    if "enum" in schema or "const" in schema:
        return f"Literal[{', '.join(map(repr, schema.get('enum', [schema.get('const')])))}]"
    members = schema.get("anyOf") or schema.get("oneOf")
    if members:
        if any(member.get("contentEncoding") for member in members):
            optional = any(member.get("type") == "null" for member in members)
            return "File | None" if optional else "File"
        return " | ".join(dict.fromkeys(map(_type, members)))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_SIMPLE.get(one, "Any") for one in kind)
    if kind == "string" and schema.get("contentEncoding") in {"base64", "base64url"}:
        return "bytes"
    if kind == "array":
        return f"list[{_type(schema['items'])}]" if isinstance(schema.get("items"), dict) else "list[Any]"
    if kind == "object":
        further = schema.get("additionalProperties")
        return f"dict[str, {_type(further)}]" if isinstance(further, dict) else "dict[str, Any]"
    return _SIMPLE.get(str(kind), "Any")


def _record(name: str, schema: Mapping[str, Any]) -> str:
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return f"{_named(name)} = {_type(schema)}"
    required = set(schema.get("required", ()))
    typed = {key: _type(one) if key in required else f"NotRequired[{_type(one)}]" for key, one in fields.items()}
    if not all(map(_usable, fields)):
        # Quoted, since names that come later in the module are looked up when this form runs.
        items = ", ".join(f"{key!r}: {text!r}" for key, text in typed.items())
        return f"{_named(name)} = TypedDict({_named(name)!r}, {{{items}}})"
    body = [f"    {key}: {text}" for key, text in typed.items()] or ["    pass"]
    return "\n".join([f"class {_named(name)}(TypedDict):", *body])


def _class(name: str, client: str, specs: Iterable[TaskSpec], *, asynchronous: bool) -> str:
    lines = [
        f"class {name}:",
        '    """Each task as a method."""',
        "",
        f"    def __init__(self, client: {client}) -> None:",
        "        self._client = client",
    ]
    for spec in specs:
        lines += ["", *_method(spec, asynchronous=asynchronous)]
    return "\n".join(lines)


def _method(spec: TaskSpec, *, asynchronous: bool) -> list[str]:
    result = "File" if spec.result is None else _type(spec.result)
    takes, given, left_out = [], [], []
    # A name that Python has no parameter for is not called by this module, only by client.task(...).
    usable = {
        name: schema for name, schema in spec.parameters.items() if _usable(name) and name not in {"self", "timeout"}
    }
    for name, schema in usable.items():
        kind = _type(schema)
        if name in spec.required:
            takes.append(f"{name}: {kind}")
            given.append(name)
        else:
            # Left out where it is not given, so that the default is the server's, whatever it is by then.
            takes.append(f"{name}: {kind if kind.endswith('| None') or kind == 'Any' else f'{kind} | None'} = None")
            left_out.append(name)
    takes.append("timeout: float | None = None")
    awaited = "await " if asynchronous and not spec.streams else ""
    head = "async def" if asynchronous and not spec.streams else "def"
    if spec.streams:
        result = f"{'AsyncIterator' if asynchronous else 'Iterator'}[{result}]"
    call = f"self._client.task({spec.name!r}){'.stream' if spec.streams else ''}"
    lines = [f"    {head} {spec.name}(self, *, {', '.join(takes)}) -> {result}:"]
    if spec.summary:
        summary = spec.summary.replace("\\", " ").replace('"', "'")
        lines.append(f'        """{summary}"""')
    lines.append(f"        arguments: dict[str, Any] = {{{', '.join(f'{name!r}: {name}' for name in given)}}}")
    if left_out:
        pairs = ", ".join(f"({name!r}, {name})" for name in left_out)
        pairs += "," if len(left_out) == 1 else ""
        lines.append(f"        arguments |= {{name: value for name, value in ({pairs}) if value is not None}}")
    lines.append(f"        return cast({result!r}, {awaited}{call}(timeout=timeout, **arguments))")
    return lines
