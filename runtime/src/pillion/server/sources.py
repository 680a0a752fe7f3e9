"""Where each setting came from: flags over environment over file over default.

The layers are merged here rather than inside the model, so that an error and ``pillion config show`` can name the
flag, the variable or the file that a value was taken from.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import msgspec

from pillion.server.environment import variable_of, variables
from pillion.server.failures import ExitCode, StartError
from pillion.server.settings import Section, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    Nested = dict[str, JsonValue]

__all__ = ["Layered", "flag_of", "leaves", "load_settings", "meanings", "shown", "variable_of"]

_log = logging.getLogger(__name__)

_KEEP_ALIVE: Final = "http.keep_alive_timeout"
_KEEP_ALIVE_VARIABLE: Final = "PILLION_HTTP_KEEP_ALIVE_TIMEOUT_S"
_KEEP_ALIVE_DEPRECATED: Final = "RAY_SERVE_HTTP_KEEP_ALIVE_TIMEOUT_S"
_API_KEY: Final = "auth.api_key"
_API_KEY_VARIABLE: Final = "PILLION_API_KEY"
_POD: Final = "models.pod"
_POD_VARIABLE: Final = "PILLION_POD_NAME"
_SECRET: Final = frozenset({_API_KEY, "jobs.database", "logger.bearer_token", "management.token"})


class Layered(msgspec.Struct, frozen=True):
    """The settings, and by dotted key the place each value was taken from (``default`` where none)."""

    settings: Settings
    origins: Mapping[str, str]


def flag_of(key: str) -> str:
    """The command-line flag of a dotted key: ``http.keep_alive_timeout`` is ``--http-keep-alive-timeout``."""
    return "--" + key.replace(".", "-").replace("_", "-")


@functools.cache
def _fields(model: type[Section]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields with their types. Evaluating the annotations takes a millisecond, and a start asks several times."""
    return msgspec.structs.fields(model)


def leaves(model: type[Section] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted key, in the order of the model."""
    for field in _fields(model):
        if _is_section(field.type):
            yield from leaves(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _sections(model: type[Section] = Settings, prefix: str = "") -> Iterator[str]:
    for field in _fields(model):
        if _is_section(field.type):
            yield prefix + field.name
            yield from _sections(field.type, f"{prefix}{field.name}.")


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def meanings() -> dict[str, str]:
    """What each setting means, by dotted key: the docstring below its field. Reads the source, so only help asks."""
    import ast  # noqa: PLC0415 - only help pays for it
    import inspect  # noqa: PLC0415 - as above

    from pillion.server import settings, settings_of_models, settings_of_ports  # noqa: PLC0415 - as above

    texts: dict[tuple[str, str], str] = {}
    written = [ast.parse(inspect.getsource(one)).body for one in (settings, settings_of_models, settings_of_ports)]
    for block in itertools.chain.from_iterable(written):
        if not isinstance(block, ast.ClassDef):
            continue
        for field, below in itertools.pairwise(block.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                texts[block.name, field.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return dict(_described(Settings, "", texts))


def _described(model: type[Section], prefix: str, texts: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    for field in _fields(model):
        if _is_section(field.type):
            yield from _described(field.type, f"{prefix}{field.name}.", texts)
        else:
            yield prefix + field.name, texts.get((model.__name__, field.name), "")


def shown(key: str, value: object) -> str:
    """A value as people may see it: inline PEM and keys are never printed."""
    if key in _SECRET and value is not None:
        return "(hidden)"
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN"):
        return "(inline PEM)"
    if key.startswith("tls.") and isinstance(value, str) and "\n" in value:
        return "(hidden)"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def load_settings(
    *,
    flags: Mapping[str, JsonValue] | None = None,
    file: Mapping[str, JsonValue] | None = None,
    file_name: str = "runtime.yaml",
    environ: Mapping[str, str] | None = None,
) -> Layered:
    """Merge the layers and check the result.

    Args:
        flags: by dotted key.
        file: the ``settings`` of runtime.yaml: nested, or by dotted key.
        file_name: how the file is called in messages.
        environ: instead of the process's environment.

    Raises:
        StartError: a value cannot be used; names its place and itself, unless it is a secret.
    """
    environ = os.environ if environ is None else environ
    plain = frozenset(key for key in leaves() if "." not in key)
    from_environ = variables(environ, frozenset(_sections()), plain)
    layers = [
        (flag_of, _nested(flags or {})),
        (variable_of, from_environ),
        (lambda key: f"{file_name} settings.{key}", _nested(file or {})),
    ]
    merged: Nested = {}
    for _, values in reversed(layers):
        merged = _merge(merged, values)
    origins = {key: next((name(key) for name, v in layers if _has(v, key)), "default") for key in _keys(merged)}
    _keep_alive_aliases(merged, origins, environ)
    _api_key_alias(merged, origins, environ)
    _pod_alias(merged, origins, environ)
    problems: list[str] = []
    settings = _checked(Settings, merged, "", origins, problems)
    if problems:
        raise StartError(ExitCode.USAGE, "; ".join(problems))
    return Layered(settings, {key: origins.get(key, "default") for key in leaves()})


def _keep_alive_aliases(merged: Nested, origins: dict[str, str], environ: Mapping[str, str]) -> None:
    """Two older spellings of one variable, below its proper one and above the file."""
    if origins.get(_KEEP_ALIVE, "").startswith(("--", "PILLION_")):
        return
    for name in (_KEEP_ALIVE_VARIABLE, _KEEP_ALIVE_DEPRECATED):
        value = environ.get(name)
        if value:
            if name == _KEEP_ALIVE_DEPRECATED:
                _warn_of_deprecated()
            merged["http"] = _merge(_section(merged, "http"), {"keep_alive_timeout": value})
            origins[_KEEP_ALIVE] = name
            return


@functools.cache
def _warn_of_deprecated() -> None:
    """Once in a process, however often its settings are read."""
    _log.warning("%s is deprecated: use %s", _KEEP_ALIVE_DEPRECATED, _KEEP_ALIVE_VARIABLE)


def _api_key_alias(merged: Nested, origins: dict[str, str], environ: Mapping[str, str]) -> None:
    """The short name of the key's variable, below its proper one and above the file.

    Elsewhere an empty variable counts as not set; here that would open the door that somebody meant to close.
    """
    others = (variable_of(f"auth.{name}") for name in ("api_keys", "inference_service"))
    for name in (_API_KEY_VARIABLE, variable_of(_API_KEY), *others):
        if environ.get(name) == "":
            raise StartError(ExitCode.USAGE, f"{name} is set and empty: give it a value, or unset it to ask for no key")
    if origins.get(_API_KEY, "").startswith(("--", "PILLION_")) or not environ.get(_API_KEY_VARIABLE):
        return
    merged["auth"] = _merge(_section(merged, "auth"), {"api_key": environ[_API_KEY_VARIABLE]})
    origins[_API_KEY] = _API_KEY_VARIABLE


def _pod_alias(merged: Nested, origins: dict[str, str], environ: Mapping[str, str]) -> None:
    """The name of the pod, which releases that have no such setting pass over instead of refusing to start."""
    if not origins.get(_POD, "").startswith(("--", "PILLION_")) and environ.get(_POD_VARIABLE):
        merged["models"] = _merge(_section(merged, "models"), {"pod": environ[_POD_VARIABLE]})
        origins[_POD] = _POD_VARIABLE


def _section(values: Nested, name: str) -> Nested:
    section = values.get(name)
    return section if isinstance(section, dict) else {}


def _nested(values: Mapping[str, JsonValue]) -> Nested:
    """``{"http.port": 1}`` and ``{"http": {"port": 1}}`` mean the same."""
    result: Nested = {}
    for key, value in values.items():
        inner: JsonValue = _nested(value) if isinstance(value, dict) else value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        if isinstance(inner, dict):
            result = _merge(result, inner)
    return result


def _merge(lower: Nested, upper: Nested) -> Nested:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _keys(values: Nested, prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _has(values: Nested, key: str) -> bool:
    here: JsonValue = values
    for part in key.split("."):
        if not isinstance(here, dict) or part not in here:
            return False
        here = here[part]
    return True


def _checked(model: type[Section], values: Nested, prefix: str, origins: Mapping[str, str], problems: list[str]) -> Any:  # noqa: ANN401 - a section of whatever kind
    """The section of those values. What is wrong with any is added to ``problems``; its default stands in for it."""
    fields = {field.name: field for field in _fields(model)}
    taken: dict[str, object] = {}
    for name, value in values.items():
        key = prefix + name
        place = origins.get(key) or next((o for k, o in origins.items() if k.startswith(f"{key}.")), key)
        field = fields.get(name)
        if field is None:
            import difflib  # noqa: PLC0415 - only for what is wrong

            near = difflib.get_close_matches(key, list(leaves()), n=1)
            problems.append(f"{place}: no such setting{f'; did you mean {near[0]}?' if near else ''}")
        elif _is_section(field.type):
            if isinstance(value, dict):
                taken[name] = _checked(field.type, value, f"{key}.", origins, problems)
            else:
                problems.append(f"{place}: a section of settings, got {shown(key, value)!r}")
        else:
            try:
                taken[name] = _converted(value, field.type)
            except msgspec.ValidationError as error:
                problems.append(f"{place}: {_expected(error, field.type)}, got {shown(key, value)!r}")
    try:
        return model(**taken)
    except ValueError as error:
        problems.append(f"{origins.get(prefix.rstrip('.'), prefix.rstrip('.'))}: {error}")
        return model()


def _converted(value: JsonValue, kind: Any) -> object:  # noqa: ANN401 - a field's type, with its bounds
    """The value as what the field takes; variables and flags bring numbers, booleans and lists (a,b) as text."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        if not isinstance(value, str):
            raise
        if get_origin(kind) is tuple:
            return msgspec.convert([part.strip() for part in value.split(",") if part.strip()], kind)
        return msgspec.convert(value, kind, strict=False)


def _expected(error: msgspec.ValidationError, kind: object) -> str:
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(repr(choice) for choice in get_args(kind))}"
    words = [choice for part in get_args(kind) if get_origin(part) is Literal for choice in get_args(part)]
    if words and "enum" in str(error):
        return f"expected a number or {', '.join(map(repr, words))}"
    return str(error).replace("`", "").lower()
