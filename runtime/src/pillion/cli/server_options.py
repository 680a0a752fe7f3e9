"""Options of the commands that ask a server. Apart from what asks, so that ``--help`` needs no client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pillion.cli.failures import CommandError

__all__ = ["HERE", "Ca", "Cert", "Certificates", "Key", "Timeout", "Url"]

HERE = "http://127.0.0.1:8080"
"""The server that is asked where none is named."""

Url = Annotated[str, typer.Option("--url", help="The server: http(s)://, grpc(s)://, unix:///.", envvar="PILLION_URL")]
Ca = Annotated[Path | None, typer.Option("--ca", help="CA that signed the server's certificate (PEM file).")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Client certificate for mutual TLS (PEM file).")]
Key = Annotated[Path | None, typer.Option("--key", help="Its private key (PEM file).")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for an answer, after what is sent is sent.")]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Whom to believe, and who we are.

    Raises:
        CommandError: a file is not there, or half of a pair is missing.
    """

    ca: Path | None
    cert: Path | None
    key: Path | None

    def __post_init__(self) -> None:
        for given in (self.ca, self.cert, self.key):
            if given is not None and not given.is_file():
                raise CommandError(f"no such file: {given}", code=2)
        if (self.cert is None) != (self.key is None):
            raise CommandError("--cert and --key belong together: give both", code=2)

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return self.ca is not None or self.cert is not None
