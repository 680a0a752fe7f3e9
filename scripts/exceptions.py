"""Finds exceptions to the linter and the type checker that do not say why: CONTRIBUTING wants the reason on the line.

What is not needed any more is found by ruff (RUF100) and mypy (``warn_unused_ignores``) themselves. A reason may be
written ``- like this``, ``# like this`` or ``(like this)``; mypy takes only the second. ``# mypy: ignore-errors`` takes
no words after it, so its reason stands on the line above.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

__all__ = ["unexplained"]

ROOT = Path(__file__).resolve().parents[1]
EXCEPTION = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa\b|type:\s*ignore\b|pragma:)")
EXPLAINED = re.compile(
    r"#\s*(?:"
    r"(?:ruff:\s*)?noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*\s+(?:- |#\s*|\()"
    r"|type:\s*ignore\[[a-z, -]+\]\s*#\s*"
    r"|pragma:\s*no (?:cover|branch)\s+- "
    r")[^\s#].*\w"
)


def unexplained(source: str) -> list[int]:
    """The lines of a module whose exception names no rule or gives no reason."""
    return [
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
        and EXCEPTION.search(token.string)
        and not all(EXPLAINED.match(part) for part in re.split(r"(?=#\s*(?:noqa|type:))", token.string) if part.strip())
    ]


def main() -> int:
    """Look at every module that git knows and no generator wrote."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        f"{name}:{line}"
        for name in listed.splitlines()
        if not name.endswith(("_pb2.py", "_pb2_grpc.py")) and (ROOT / name).exists()
        for line in unexplained((ROOT / name).read_text())
    ]
    for place in found:
        print(f"{place}: an exception without its reason: write `# noqa: RULE - why` or `# type: ignore[code]  # why`")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
