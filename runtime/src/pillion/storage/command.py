"""The command of the storage init container: ``python -m pillion.storage --uri URI --dest DIR [...]``.

Standard library only besides what the scheme needs. Log lines are JSON on standard error. The last word goes to the
termination log as JSON, where the kubelet picks it up for the pod's status: on success the digest of each artifact,
on failure reason, message and remedy. Exit codes: `pillion.storage.errors`; 143 after SIGTERM, with what was
downloaded kept for the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.storage.digest import parse_digest
from pillion.storage.errors import EXIT_CODES, Reason, StorageError
from pillion.storage.fetching import fetch
from pillion.storage.options import FetchOptions, settings
from pillion.storage.storage_config import variables_of_config
from pillion.storage.uri import SUPPORTED_SCHEMES, parse_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.storage.artifact import Artifact
    from pillion.storage.uri import StorageUri

__all__ = ["main"]

_LOGGER: Final = logging.getLogger("pillion.storage")
_TERMINATION_LOG: Final = "/dev/termination-log"
_MAX_TERMINATION_BYTES: Final = 4096  # the kubelet keeps no more
_DEFECT: Final = 70
_TERMINATED: Final = 143


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, message, and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, ensure_ascii=False, default=str)


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Fetch each pair of URI and destination, one after the other; the exit code."""
    environment = os.environ if environment is None else environment
    given = _parser().parse_args(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    try:
        return _run(given, environment)
    finally:
        _LOGGER.removeHandler(handler)


def _run(given: argparse.Namespace, environment: Mapping[str, str]) -> int:
    termination_log = Path(given.termination_log)
    try:
        variables = variables_of_config(environment)
        if variables:
            # obstore looks at the variables of the process itself.
            os.environ.update(variables)
            environment = {**environment, **variables}
        jobs = _jobs(given, environment)
        artifacts = asyncio.run(_fetch_all(jobs, environment))
    except StorageError as error:
        fields = {"reason": str(error.reason), "message": error.message, "remedy": error.remedy}
        _LOGGER.error(  # noqa: TRY400  (the sentence is for users: a traceback would not help them)
            "%s", error, extra={"fields": {"event": "storage.failed", **fields}}
        )
        _terminate(termination_log, fields)
        return error.exit_code
    except asyncio.CancelledError:
        _LOGGER.warning("stopped by a signal; what was downloaded is kept")
        _terminate(
            termination_log, {"reason": "Terminated", "message": "stopped by a signal", "remedy": "start it again"}
        )
        return _TERMINATED
    except Exception as error:  # the last line of defence: the operator must learn the kind of defect
        _LOGGER.critical("a defect of Pillion", exc_info=error)
        _terminate(termination_log, {"reason": "InternalError", "message": type(error).__name__, "remedy": "report it"})
        return _DEFECT
    _terminate(termination_log, _summary(artifacts))
    return 0


async def _fetch_all(
    jobs: Sequence[tuple[StorageUri, Path, FetchOptions]], environment: Mapping[str, str]
) -> list[Artifact]:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    artifacts = []
    for uri, dest, options in jobs:
        began = time.monotonic()
        artifact = await fetch(uri, dest, options, environment=environment)
        artifacts.append(artifact)
        _LOGGER.info(
            "%s is in place at %s",
            artifact.uri,
            dest,
            extra={
                "fields": {
                    "event": "storage.placed",
                    "uri": artifact.uri,
                    "dest": str(dest),
                    "digest": artifact.digest,
                    "bytes": artifact.size,
                    "files": len(artifact.files),
                    "reused": artifact.reused,
                    "seconds": round(time.monotonic() - began, 3),
                }
            },
        )
    return artifacts


def _jobs(given: argparse.Namespace, environment: Mapping[str, str]) -> list[tuple[StorageUri, Path, FetchOptions]]:
    uris, destinations = [*given.pairs[::2], *given.uri], [*given.pairs[1::2], *given.dest]
    if not uris or len(uris) != len(destinations):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"{len(uris)} URIs and {len(destinations)} destinations were given",
            remedy="give each --uri its --dest",
        )
    if len(set(destinations)) != len(destinations):
        raise StorageError(Reason.INVALID_SETTING, "a destination is given twice", remedy="give each URI its own")
    digests: list[str | None] = [None if text == "-" else parse_digest(text) for text in given.digest]
    if digests and len(digests) != len(uris):
        raise StorageError(
            Reason.INVALID_SETTING,
            f"{len(uris)} URIs and {len(digests)} digests were given",
            remedy="give one --digest for each URI, '-' for none",
        )
    chosen = {
        setting.name: setting.parse(text, where=setting.flag)
        for setting in settings()
        if setting.name != "digest" and (text := getattr(given, setting.name)) is not None
    }
    pairs = zip(uris, destinations, digests or [None] * len(uris), strict=True)
    jobs = []
    for uri, dest, digest in pairs:
        own = chosen if digest is None else {**chosen, "digest": digest}
        jobs.append((parse_uri(uri), Path(dest), FetchOptions.from_environment(environment, **own)))
    return jobs


def _parser() -> argparse.ArgumentParser:
    codes = ", ".join(f"{code} {reason}" for reason, code in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="python -m pillion.storage",
        description="Put artifacts into directories: verified, and all of it or nothing. "
        f"Schemes: {', '.join(SUPPORTED_SCHEMES)}.",
        epilog=f"Every setting may be given as an environment variable PILLION_STORAGE_<NAME> instead. "
        f"Exit codes: 0 done, 2 wrong command line, {codes}, {_DEFECT} defect, {_TERMINATED} stopped by a signal. "
        "Example: python -m pillion.storage --uri s3://models/iris --dest /mnt/models",
    )
    parser.add_argument("pairs", nargs="*", metavar="SRC DEST", help="pairs of a storage URI and a directory")
    parser.add_argument("--uri", action="append", default=[], help="a storage URI; several, each with its --dest")
    parser.add_argument("--dest", action="append", default=[], help="the directory for the --uri at the same place")
    parser.add_argument(
        "--termination-log",
        default=_TERMINATION_LOG,
        metavar="FILE",
        help="where the outcome is written as JSON, if the file exists (default: %(default)s)",
    )
    for setting in settings():
        if setting.name == "digest":
            parser.add_argument(
                "--digest", action="append", default=[], help=f"{setting.meaning}; one for each URI, - for none"
            )
        elif setting.name in {"allow_private_hosts", "unpack"}:
            parser.add_argument(
                setting.flag, nargs="?", const="true", default=None, metavar="BOOL",
                help=f"{setting.meaning} (default: {str(setting.default).lower()})",
            )  # fmt: skip
        else:
            shown = (
                "none"
                if setting.default in (None, ())
                else f"{setting.default:g}"
                if isinstance(setting.default, float)
                else setting.default
            )
            parser.add_argument(
                setting.flag, default=None, metavar="VALUE", help=f"{setting.meaning} (default: {shown})"
            )
    return parser


def _summary(artifacts: Sequence[Artifact]) -> dict[str, object]:
    return {
        "reason": "Completed",
        "artifacts": [
            {"uri": a.uri[:500], "dest": str(a.root), "digest": a.digest, "bytes": a.size, "files": len(a.files)}
            for a in artifacts
        ],
    }


def _terminate(path: Path, fields: Mapping[str, object]) -> None:
    """Write the outcome where the kubelet reads it, cut so that it stays whole JSON."""
    text = json.dumps(fields, ensure_ascii=False)
    if len(text.encode()) > _MAX_TERMINATION_BYTES:
        text = json.dumps({key: value[:600] for key, value in fields.items() if isinstance(value, str)})
    with suppress(OSError):  # not in a pod, or a read-only one: the log lines say the same
        if path.exists():
            path.write_text(text, encoding="utf-8")
