"""A PostgreSQL of the tests' own: Debian's server, in a folder that goes, run by a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.ports import free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PASSWORD", "Postgres", "postgres"]

PASSWORD = "geheim-0815"


class Postgres:
    """A server on a port of loopback, which asks for a password."""

    def __init__(self, folder: Path, binaries: Path, user: dict[str, Any]) -> None:
        self._folder = folder
        self._binaries = binaries
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """Of its database, with the password."""
        return f"postgresql://pillion:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        secret = self._folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self._folder / "data"), "-U", "pillion", "-A", "scram-sha-256", "--no-sync",
                  f"--pwfile={secret}")  # fmt: skip

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port),
                    "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}",
                    "-c", "shared_buffers=16MB", "-c", "max_connections=40",
                ],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._user,
            )  # fmt: skip
        until_now(self._answers)

    def stop(self) -> None:
        """At once: connections are cut, what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    @property
    def stopped(self) -> bool:
        return self._process is None

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    def schema(self) -> str:
        """A name that nobody has used."""
        return f"s{secrets.token_hex(6)}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments], cwd=self._folder, capture_output=True, text=True, check=False,
            **self._user,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Fails where Debian's ``postgresql`` is not installed."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="pillion-postgres-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    server = Postgres(folder, binaries, user)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _binaries() -> Path:
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert places, "these tests need PostgreSQL: apt-get install postgresql"
    return places[-1]
