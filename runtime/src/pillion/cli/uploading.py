"""How far an upload is, for a person at a terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["upload_bar"]


@contextlib.contextmanager
def upload_bar(what: str) -> Iterator[Callable[[int, int], object] | None]:
    """What to tell of the bytes that were sent, and of those that there are; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - costs start-up
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415 - as above

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"sending {what}", total=None)

        def tell(sent: int, total: int) -> None:
            doing = "loading" if sent == total else "sending"
            bar.update(task, completed=sent, total=total, description=f"{doing} {what}")

        yield tell
