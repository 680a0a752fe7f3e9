"""Taking out of objects and texts what could be a credential. Pure.

What people put into environment and annotations can be anything, so of those only what is known to be harmless stays.
Everywhere else what looks like a credential goes, by its name or by its form: rather too much than too little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

__all__ = ["REDACTED", "redacted_object", "redacted_text"]

REDACTED: Final = "<redacted>"

_WORDS: Final = (
    "passw(?:or)?d|passphrase|passwd|secret|token|api[-_.]?key|access[-_.]?key|account[-_.]?key|private[-_.]?key|"
    "encryption[-_.]?key|credential|authorization|cookie|signature|connection[-_.]?string|(?<![a-z])dsn|"
    "(?<![a-z])(?:pat|pass|pwd)(?![a-z])"
)
_NAMED: Final = re.compile(_WORDS, re.IGNORECASE)
#: Fields that name a Secret, or say something of one, and hold none.
_REFERENCE: Final = re.compile(r"(?:Name|Names|Ref|Path|Seconds)$|^(?:imagePullSecrets|secrets)$")
#: Annotations by which Kubernetes, its tools and Pillion speak; what they hold is looked at all the same.
_KNOWN_ANNOTATION: Final = re.compile(
    r"^(?:[a-z0-9.-]+\.)?(?:pillion\.dev|kserve\.io|knative\.dev|kubernetes\.io|k8s\.io|prometheus\.io|helm\.sh|"
    r"argoproj\.io|fluxcd\.io)/"
)
#: A whole object once more, with everything that was written into it.
_COPIES: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_KNOWN_VARIABLE: Final = re.compile(r"^(?:PILLION_|POD_NAME|POD_NAMESPACE$|OTEL_(?!.*HEADERS))")

#: A name that tells of a credential, and how far it may go on. Bounded, as everything here is: a log has lines of any
#: length, and a form that looks ahead without a bound takes hours for a line of a megabyte.
_NAME: Final = rf"(?=[psaetcd])(?:{_WORDS})[\w.-]{{0,64}}"
_LINE_NAME: Final = rf"[ \t]*(?:- )?[\"']?[\w.-]{{0,64}}?{_NAME}[\"']?[ \t]*"
#: In quotes, which may be escaped (also more than once) where a document is a string of another; or a word.
_VALUE: Final = (
    r"(?:\\+\"(?:[^\"\\]|\\+[^\"\\])*\\*\"?|\"(?:[^\"\\]|\\.)*\"?|'[^']*'|"
    r"(?!\s|[{\[]|<redacted>)[^\s,;&}\]\"']+)"
)
_SCHEME: Final = r"\b[a-z][a-z0-9+.-]{0,30}://"

_FORMS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"-----BEGIN [^-]{0,40}PRIVATE KEY-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL), REDACTED),
    # To the last @ before the path: passwords hold one, too.
    (re.compile(rf"({_SCHEME})[^/\s\"']+@", re.IGNORECASE), rf"\1{REDACTED}@"),
    # What stands behind the ? of an address is a key often enough: presigned URLs, SAS, webhooks.
    (re.compile(rf"({_SCHEME}[^\s\"'?]{{1,2000}}\?)[^\s\"'<>]+", re.IGNORECASE), rf"\1{REDACTED}"),
    (
        re.compile(rf"([?&][^=&?\s]{{0,64}}?(?:{_WORDS}|sig|key)[^=&?\s]{{0,64}}=)[^&\s\"']+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(bearer|basic|digest|negotiate)(\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1\2{REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    (re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{12,}\b"), REDACTED),
    (
        re.compile(
            r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abeprs]-|AIza|dapi|npm_|pypi-|dckr_pat_|hvs\.|SG\.|"
            r"[sr]k_(?:live|test)_)[A-Za-z0-9_-]{12,}"
        ),
        REDACTED,
    ),
    # Of YAML: a text of several lines, and a value to the end of its line.
    (
        re.compile(
            rf"^({_LINE_NAME}:[ \t]*[|>][^\n]*\n)([ \t]+)[^\n]*(?:\n\2[^\n]*|\n[ \t]*(?=\n))*",
            re.IGNORECASE | re.MULTILINE,
        ),
        rf"\1\2{REDACTED}",
    ),
    (
        re.compile(rf"^({_LINE_NAME}:[ \t]+)(?![{{\[|>\"'\s]|<redacted>)[^\n]+", re.IGNORECASE | re.MULTILINE),
        rf"\1{REDACTED}",
    ),
    # Headers in texts, whose value has more than one word.
    (
        re.compile(r"((?:authorization|cookie)\\*[\"']?\s*:\s*)(?![\s\"'\\]|<redacted>)[^\r\n\"']+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # `"name": "DB_PASSWORD", "value": "x"`, and a header as a pair.
    (
        re.compile(
            rf"(name\\*[\"']?\s*[:=]\s*\\*[\"']?[\w.-]{{0,64}}?{_NAME}\\*[\"']?[\s,]+\\*[\"']?value\\*[\"']?\s*[:=]\s*)"
            rf"{_VALUE}",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(rf"(\(b?[\"'][\w.-]{{0,64}}?{_NAME}[\"'],\s*b?){_VALUE}", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # `password: x`, `"token": "x"`, `API_KEY=x`, `--secret x` in texts of any kind.
    (
        re.compile(rf"(?<![\w.-])(--?[\w.-]{{0,64}}?{_NAME}[ =])(?!--)(?:\"[^\"]*\"|'[^']*'|[^\s\"']+)", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (re.compile(rf"({_NAME}\\*[\"']?\s*[:=]\s*){_VALUE}", re.IGNORECASE), rf"\1{REDACTED}"),
)


def redacted_text(text: str) -> str:
    """The text without what looks like a credential."""
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    return text


def redacted_object(given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The object without what could be a credential, without values of variables and annotations that are not known to
    be harmless, and without what only repeats it (managed fields, the copy that kubectl keeps).
    """
    kept = {name: _field(name, value) for name, value in given.items() if name not in {"managedFields", "binaryData"}}
    if isinstance(given.get("value"), str) and _NAMED.search(str(given.get("name", ""))):
        kept["value"] = REDACTED
    return kept


def _field(name: str, value: JsonValue) -> JsonValue:
    if name == "annotations" and isinstance(value, dict):
        return {key: _annotation(key, one) for key, one in value.items()}
    if name in {"env", "httpHeaders"} and isinstance(value, list):
        return [_variable(one) for one in value]
    if name in {"args", "command"} and isinstance(value, list):
        return _arguments(value)
    if isinstance(value, str) and _NAMED.search(name) and not _REFERENCE.search(name):
        return REDACTED
    if isinstance(value, list) and _NAMED.search(name) and not _REFERENCE.search(name):
        return [REDACTED if isinstance(one, str) else _value(one) for one in value]
    return _value(value)


def _value(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return redacted_object(value)
    if isinstance(value, list):
        return [_value(one) for one in value]
    return redacted_text(value) if isinstance(value, str) else value


def _annotation(key: str, value: JsonValue) -> JsonValue:
    harmless = _KNOWN_ANNOTATION.search(key) and key not in _COPIES and not _NAMED.search(key)
    return _value(value) if harmless else REDACTED


def _variable(given: JsonValue) -> JsonValue:
    """A variable or a header: its name, and where its value comes from, stay."""
    if not isinstance(given, dict) or not isinstance(given.get("value"), str):
        return _value(given)
    name = str(given.get("name", ""))
    harmless = _KNOWN_VARIABLE.search(name) and not _NAMED.search(name)
    return {**given, "value": redacted_text(str(given["value"])) if harmless else REDACTED}


def _arguments(given: Sequence[JsonValue]) -> list[JsonValue]:
    """Arguments of a command; what follows a flag of a telling name goes with it."""
    made: list[JsonValue] = []
    hidden = False
    for one in given:
        text = one if isinstance(one, str) else ""
        is_value = hidden and not text.startswith("--")
        made.append(REDACTED if is_value else _value(one))
        hidden = text.startswith("-") and "=" not in text and _NAMED.search(text) is not None
    return made
