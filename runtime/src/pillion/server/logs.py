"""Logs: one JSON object a line for machines, short lines for a terminal.

Standard logging with a formatter of our own, because libraries (grpc, uvicorn, asyncio) log through it already and a
second logging system would need a bridge for each. Whatever is passed as ``extra`` becomes a field of the object;
``request_id`` is the one that ties a line to an answer.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from pillion.server.settings import LogSettings

__all__ = ["ABOUT", "JsonFormatter", "TextFormatter", "configure", "configure_further", "redact", "show_access"]

ABOUT: Final = "_about"
"""Attribute of a record with what its message says in words; only templates of the access log show it."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_SECRETS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), "(PEM removed)"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 (removed)"),
    (re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+@"), "(removed)@"),
    (
        re.compile(r"(?i)((?:x-amz-signature|x-amz-security-token|sig|token|password|secret)=)[^&\s\"']+"),
        r"\1(removed)",
    ),
)


def redact(text: str) -> str:
    """The text without what looks like a secret: PEM blocks, bearer tokens, passwords and signatures in URLs."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")}


class JsonFormatter(logging.Formatter):
    """One JSON object: time (RFC 3339, UTC), level, logger, message, then the extras, then error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extras(record))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, default=str, ensure_ascii=False))


class TextFormatter(logging.Formatter):
    """``12:00:00 warning message key=value``: for people in front of a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        clock = self.formatTime(record, "%H:%M:%S")
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        line = f"{clock} {record.levelname.lower()} {record.getMessage()}{extras}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return redact(line)


def configure(settings: LogSettings, stream: TextIO | None = None) -> logging.Handler:
    """Send every logger of the process to ``stream`` (standard error). For the program, not for embedding."""
    target = sys.stderr if stream is None else stream
    handler = _handler(settings, target)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    # Each WebSocket is a line of the access log, where that is wanted; uvicorn has others for its opening and its end.
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET if root.level < logging.INFO else logging.WARNING)
    logging.captureWarnings(capture=True)
    _configure_access(settings, target)
    return handler


def _handler(settings: LogSettings, target: TextIO) -> logging.Handler:
    text = settings.format == "text" or (settings.format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    return handler


def show_access(settings: LogSettings) -> None:
    """Have lines of the access log written in a program that asked for them and whose logging is its own.

    Its handlers take them; where it has none, they go to standard error.
    """
    access = logging.getLogger("pillion.access")
    if not access.isEnabledFor(logging.INFO):
        access.setLevel(logging.INFO)
    if not access.hasHandlers():
        if settings.access_format:
            _configure_access(settings, sys.stderr)
        else:
            access.addHandler(_handler(settings, sys.stderr))


def configure_further(config: Mapping[str, Any]) -> None:
    """Apply a configuration of the user's, as :func:`logging.config.dictConfig` takes it.

    Loggers that it does not name go on, unless it says otherwise.

    Raises:
        TypeError, ValueError: it is no such configuration.
    """
    from logging.config import dictConfig  # noqa: PLC0415 - few ask for it, and it imports a server

    if not isinstance(config, Mapping):
        raise TypeError(f"log_config is a dict for logging.config.dictConfig, and not a {type(config).__name__}")
    try:
        dictConfig({"version": 1, "disable_existing_loggers": False, **config})
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        why = f"{error}: {error.__cause__}" if error.__cause__ is not None else str(error)
        raise ValueError(f"log_config: {why}") from error


def _configure_access(settings: LogSettings, target: TextIO) -> None:
    """Write the access log whatever the level of the others, and by a handler of its own where it looks otherwise."""
    wanted = settings.access_format
    access = logging.getLogger("pillion.access")
    access.setLevel(logging.INFO if settings.access > 0 else logging.NOTSET)
    access.handlers = []
    access.propagate = not wanted
    if not wanted:
        return
    handler = logging.StreamHandler(target)
    if wanted == "json":
        handler.setFormatter(JsonFormatter())
    else:
        from pillion.server.access_log import AccessFormatter, template_of  # noqa: PLC0415 - only who wants it

        handler.setFormatter(AccessFormatter(template_of(wanted)))
    access.addHandler(handler)
