"""A report for people (text, Markdown) and for programs (JSON, JUnit)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

from pillion.conformance.model import Level, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.conformance.model import Report, Result

__all__ = ["FORMATS"]


def _summary(report: Report) -> str:
    counts = ", ".join(
        f"{report.count(outcome)} {outcome.value}" for outcome in Outcome if report.count(outcome) or outcome in _ALWAYS
    )
    levels = ", ".join(f"{count} {level.value}" for level in Level if (count := report.count(Outcome.FAILED, level)))
    return f"{counts}" + (f" (of the failed {levels})" if levels else "") + f", in {report.seconds:.1f} s"


_ALWAYS = (Outcome.PASSED, Outcome.FAILED)


def _head(report: Report) -> str:
    where = report.url + (f", gRPC {report.grpc}" if report.grpc else "")
    return f"{report.server or 'a server'} at {where}; models: {', '.join(report.models) or 'none'}"


def _failures(report: Report) -> list[Result]:
    return [result for result in report.results if result.outcome is Outcome.FAILED]


def _of(result: Result) -> str:
    return f" [{result.model}]" if result.model else ""


def text(report: Report) -> str:
    """A line for each group, then each failure with its exchange, then the sum."""
    lines = [_head(report), ""]
    groups = list(dict.fromkeys(result.check.group for result in report.results))
    width = max(map(len, groups))
    for group in groups:
        mine = [result for result in report.results if result.check.group == group]
        counts = [(outcome, sum(r.outcome is outcome for r in mine)) for outcome in Outcome]
        lines.append(
            f"  {group:{width}}  " + ", ".join(f"{count} {outcome.value}" for outcome, count in counts if count)
        )
    for result in _failures(report):
        lines += [
            "",
            f"FAILED {result.check.id}{_of(result)} ({result.check.level.value}): {result.check.sentence}",
            f"  {result.check.source}",
            f"  expected  {result.expected}",
            f"  got       {result.got}",
        ]
        lines += [
            f"  sent      {line}" if not n else f"            {line}" for n, line in enumerate(_lines(result.sent))
        ]
        if result.came and result.came != result.got:
            lines.append(f"  answer    {result.came}")
    return "\n".join([*lines, "", _summary(report)])


def _lines(sent: str) -> list[str]:
    return sent.split("\n") if sent else []


def markdown(report: Report) -> str:
    """A table of what failed."""
    lines = [f"{_head(report)}: {_summary(report)}.", ""]
    if _failures(report):
        lines += ["| check | level | the sentence | expected | came |", "|---|---|---|---|---|"]
    for result in _failures(report):
        cells = (
            f"`{result.check.id}`{_of(result)}", result.check.level.value,
            f"{result.check.sentence} ({result.check.source})", result.expected, result.got,
        )  # fmt: skip
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    skipped = dict.fromkeys((r.reason, r.check.group) for r in report.results if r.outcome is Outcome.SKIPPED)
    if skipped:
        lines += ["", "Skipped: " + "; ".join(f"{group}: {reason}" for reason, group in skipped) + "."]
    return "\n".join(lines)


def _cell(content: str) -> str:
    return content.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")[:200]


def as_json(report: Report) -> str:
    """Every result."""
    return json.dumps(
        {
            "url": report.url,
            "grpc": report.grpc or None,
            "server": report.server,
            "models": list(report.models),
            "seconds": round(report.seconds, 2),
            "counts": {outcome.value: report.count(outcome) for outcome in Outcome},
            "results": [_document(result) for result in report.results],
        },
        indent=2,
        ensure_ascii=False,
    )


def _document(result: Result) -> dict[str, Any]:
    document = {
        "id": result.check.id,
        "group": result.check.group,
        "level": result.check.level.value,
        "sentence": result.check.sentence,
        "source": result.check.source,
        "outcome": result.outcome.value,
    }
    more = {
        "model": result.model, "reason": result.reason, "expected": result.expected, "got": result.got,
        "sent": result.sent, "answer": result.came,
    }  # fmt: skip
    return document | {name: value for name, value in more.items() if value}


def junit(report: Report) -> str:
    """One test case for each check and model, as CI systems show them. A failed SHOULD is a failure too."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        (
            f'<testsuite name="open-inference-protocol" tests="{len(report.results)}" '
            f'failures="{report.count(Outcome.FAILED)}" errors="{report.count(Outcome.NOT_RUN)}" '
            f'skipped="{report.count(Outcome.SKIPPED)}" time="{report.seconds:.2f}">'
        ),
    ]
    for result in report.results:
        name = f"{result.check.id}{_of(result)}"
        lines.append(f"  <testcase classname={quoteattr(result.check.group)} name={quoteattr(name)}>")
        if result.outcome is Outcome.FAILED:
            message = f"{result.check.level.value}: {result.check.sentence}"
            body = f"expected {result.expected}\ngot {result.got}\nsent {result.sent}\nanswer {result.came}"
            lines.append(f"    <failure message={quoteattr(message)}>{escape(_printable(body))}</failure>")
        elif result.outcome is Outcome.SKIPPED:
            lines.append(f"    <skipped message={quoteattr(result.reason)}/>")
        elif result.outcome is Outcome.NOT_RUN:
            lines.append(f"    <error message={quoteattr(result.reason)}/>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>"])


def _printable(content: str) -> str:
    """Without the control characters that XML has no form for."""
    return "".join(character for character in content if character >= " " or character in "\t\n")


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": text, "json": as_json, "markdown": markdown, "junit": junit,
}  # fmt: skip
