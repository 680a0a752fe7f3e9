"""How lines of the access log look."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from pillion.server.access_log import FIELDS, template_of
from pillion.server.failures import StartError
from pillion.server.logs import ABOUT, configure
from pillion.server.settings import LogSettings
from pillion.server.sources import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, access = logging.getLogger(), logging.getLogger("pillion.access")
    before = root.handlers, root.level, access.handlers, access.propagate, access.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers, root.level, access.handlers, access.propagate, access.level = before


def written(access_format: str, **changed: Any) -> str:
    target = io.StringIO()
    configure(LogSettings(format="json", access_format=access_format), target)
    about = {"method": "GET", "path": "/shop", "client": "203.0.113.7", "version": "1.1"} | changed
    extra = {"request_id": "a1", "status": 200, "ms": 1.5, "bytes": 12, "application": "shop", ABOUT: about}
    logging.getLogger("pillion.access").info("GET /shop 200", extra=extra)
    logging.getLogger("pillion.http").info("another")
    return target.getvalue()


def test_the_common_format_is_that_of_other_servers_and_the_log_s_other_lines_stay_json() -> None:
    first, second = written("common").splitlines()
    expected = r'203\.0\.113\.7 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /shop HTTP/1\.1" 200 12'
    assert re.fullmatch(expected, first)
    assert "another" == json.loads(second)["message"]


def test_a_template_has_the_fields_that_it_names_and_a_dash_for_those_that_are_not_there() -> None:
    assert (
        "a1 shop GET /shop 200 1.5ms -"
        == written("{request_id} {application} {method} {path} {status} {ms}ms {model}").splitlines()[0]
    )


def test_json_is_one_object_a_line_and_as_ever_without_a_format() -> None:
    for access_format in ("json", ""):
        line = json.loads(written(access_format).splitlines()[0])
        assert ("GET /shop 200", "shop", 12) == (line["message"], line["application"], line["bytes"])
        assert ABOUT not in line


def test_nobody_forges_a_line_by_a_path() -> None:
    line = written("common", path='/x" 200 0\n127.0.0.1 - - "\x1b[2J\\').splitlines()
    assert 2 == len(line)
    assert '"GET /x\\" 200 0\\n127.0.0.1 - - \\"\\x1b[2J\\\\ HTTP/1.1" 200 12' in line[0]


@pytest.mark.parametrize("text", ["{password}", "{status.__class__}", "{status:>9}", "{status!r}", "{", "plain", "{0}"])
def test_what_is_no_template_is_refused_with_the_fields_that_there_are(text: str) -> None:
    with pytest.raises(StartError, match=r"log\.access_format"):
        load_settings(environ={"PILLION_LOG__ACCESS_FORMAT": text})


def test_every_field_may_be_asked_for() -> None:
    text = " ".join(f"{{{name}}}" for name in FIELDS)
    assert text == template_of(text)
