"""`pillion-operator`: the console script."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from pillion_operator import log
from pillion_operator.client.connection import NoConnectionError, connect
from pillion_operator.process import Operator
from pillion_operator.settings import OperatorSettings

__all__ = ["main"]

#: Exit codes: 0 stopped as asked, 1 a part failed, 2 wrong settings, 3 the lease was lost.
_USAGE = 2


def main(argv: list[str] | None = None) -> None:
    """Run the operator until SIGTERM or SIGINT; exit with its code."""
    try:
        settings = CliApp.run(OperatorSettings, cli_args=sys.argv[1:] if argv is None else argv)
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"])
            print(f"pillion-operator: {field}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        sys.exit(_USAGE)
    log.configure(settings.log_level)
    try:
        connection = connect(settings.kubeconfig)
    except NoConnectionError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the sentence is for people
        sys.exit(_USAGE)
    sys.exit(asyncio.run(_run(Operator(settings, connection))))


async def _run(operator: Operator) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, operator.stop)
    return await operator.run()
