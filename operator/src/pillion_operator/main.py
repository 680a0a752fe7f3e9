"""`pillion-operator`: the console script."""

from __future__ import annotations

from pillion_operator import program
from pillion_operator.process import Operator
from pillion_operator.settings import OperatorSettings

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run the operator until SIGTERM or SIGINT; exit with its code, which is 3 where the lease was lost."""
    program.main(OperatorSettings, "pillion-operator", Operator, argv)
