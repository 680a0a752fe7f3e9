"""What the console scripts have in common: settings, logs, a way to the API server, and signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol, TypeVar

from pydantic import BeforeValidator, ValidationError
from pydantic_settings import BaseSettings, CliApp, NoDecode, SettingsConfigDict

from pillion_operator import log
from pillion_operator.client.connection import NoConnectionError, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.connection import Connection

__all__ = ["Names", "ProgramSettings", "main"]

#: Exit codes: 0 stopped as asked, 1 a part failed, 2 wrong settings; others are the program's own.
_USAGE: Final = 2


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


#: Written as one text, separated by commas.
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class ProgramSettings(BaseSettings):
    """What every program is set by: flags over environment over defaults."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, cli_kebab_case=True, cli_implicit_flags=True, extra="ignore", frozen=True
    )

    kubeconfig: Path | None = None
    """Kubeconfig to use; by default the pod's service account, else KUBECONFIG."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""


class _Program(Protocol):
    def stop(self) -> None:
        """End in an orderly way."""

    async def run(self) -> int:
        """Run until stopped; return the exit code."""


_S = TypeVar("_S", bound=ProgramSettings)


def main(
    settings_type: type[_S], name: str, make: Callable[[_S, Connection], _Program], argv: list[str] | None = None
) -> None:
    """Run a program until SIGTERM or SIGINT; exit with its code."""
    try:
        settings = CliApp.run(settings_type, cli_args=sys.argv[1:] if argv is None else argv)
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"])
            print(f"{name}: {field}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
        sys.exit(_USAGE)
    log.configure(settings.log_level)
    try:
        connection = connect(settings.kubeconfig)
    except NoConnectionError as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400 - the sentence is for people
        sys.exit(_USAGE)
    sys.exit(asyncio.run(_run(make, settings, connection)))


async def _run(make: Callable[[_S, Connection], _Program], settings: _S, connection: Connection) -> int:
    program = make(settings, connection)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, program.stop)
    return await program.run()
