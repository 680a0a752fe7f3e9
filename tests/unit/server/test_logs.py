"""What a log line looks like, and what never gets into one."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from typing import TYPE_CHECKING, Literal

import pytest

from pillion.server.logs import configure, redact, show_access
from pillion.server.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = logging.getLogger("pillion.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Standard error, with the root logger put back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_a_line_is_one_json_object_with_its_extras_and_request_id(stream: io.StringIO) -> None:
    configure(LogSettings(format="json"), stream)
    LOG.warning("queue %s", "full", extra={"request_id": "r1", "model": "iris"})
    line = json.loads(stream.getvalue())
    assert ("warning", "pillion.test", "queue full") == (line["level"], line["logger"], line["message"])
    assert ("r1", "iris") == (line["request_id"], line["model"])
    assert line["time"].endswith("Z")


def test_an_exception_stays_on_its_line(stream: io.StringIO) -> None:
    configure(LogSettings(format="json"), stream)
    try:
        int("first\nsecond")
    except ValueError:
        LOG.exception("failed")
    assert 1 == stream.getvalue().count("\n")
    assert "ValueError: invalid" in json.loads(stream.getvalue())["error"]


def test_without_a_terminal_auto_means_json_and_text_is_for_people(stream: io.StringIO) -> None:
    configure(LogSettings(), stream)
    LOG.info("one")
    assert json.loads(stream.getvalue())
    configure(LogSettings(format="text"), stream)
    LOG.info("two", extra={"model": "iris"})
    assert stream.getvalue().endswith("info two model=iris\n")


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    configure(LogSettings(level="error"), stream)
    LOG.warning("quiet")
    assert "" == stream.getvalue()


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----\nMIIEsecret\n-----END PRIVATE KEY-----",
        "-----BEGIN EC PRIVATE KEY-----\nMIIEsecret",
        "Authorization: Bearer abcdefsecret.x-y_z",
        "s3://user:MIIEsecret@host/bucket",
        "https://host/x?X-Amz-Signature=secret&a=b",
        "https://host/x?sig=secret",
        "postgres password=secret",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(secret: str) -> None:
    assert "secret" not in redact(f"before {secret} after").replace("X-Amz-Security", "")
    assert redact("before").startswith("before")


@pytest.fixture
def engine() -> Iterator[logging.Logger]:
    """The engine's logger as nobody has configured it, whatever servers in this process have done to it."""
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "uvicorn")]
    before = [vars(logger).copy() for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate, logger.disabled = [], True, False
        logger.setLevel(logging.NOTSET)
    yield loggers[0]
    for logger, attributes in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = attributes["handlers"], attributes["propagate"]
        logger.disabled = attributes["disabled"]
        logger.setLevel(attributes["level"])


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("debug", 2)])
def test_websockets_are_told_of_by_the_access_log_and_not_by_lines_of_the_engine(
    stream: io.StringIO, engine: logging.Logger, level: Literal["info", "debug"], lines: int
) -> None:
    configure(LogSettings(level=level, format="json"), stream)
    engine.info("connection open")
    engine.warning("something is wrong")
    assert lines == stream.getvalue().count("\n")
    assert "something is wrong" in stream.getvalue()


@contextlib.contextmanager
def access_log() -> Iterator[logging.Logger]:
    """The logger of the access log, in a program that has no handlers; pytest gives it some before each test."""
    logger = logging.getLogger("pillion.access")
    level, handlers, propagate = logger.level, logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [], False
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(level)
    logger.handlers, logger.propagate = handlers, propagate


def test_a_program_that_asks_for_the_access_log_has_it_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with access_log() as access:
        for _ in range(2):  # of two servers, one after the other
            show_access(LogSettings(format="text"))
        access.info("GET / 200", extra={"ms": 1})
    assert 1 == capsys.readouterr().err.count("GET / 200 ms=1\n")


def test_and_by_its_own_handlers_where_it_has_some(stream: io.StringIO) -> None:
    with access_log() as access:
        own = logging.StreamHandler(stream)
        access.addHandler(own)
        show_access(LogSettings())
        access.info("GET / 200")
        assert ("GET / 200\n", [own]) == (stream.getvalue(), access.handlers)
