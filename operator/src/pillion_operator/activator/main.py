"""`pillion-activator`: the console script."""

from __future__ import annotations

import resource

from pillion_operator import program
from pillion_operator.activator.process import Activator
from pillion_operator.activator.settings import ActivatorSettings

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run the activator until SIGTERM or SIGINT; exit with its code."""
    _use_all_files()
    program.main(ActivatorSettings, "pillion-activator", Activator, argv)


def _use_all_files() -> None:
    """Open as many files as the process may: a connection takes two, a port one, and the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
