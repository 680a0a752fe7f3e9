"""``python -m pillion.server --config /etc/pillion/runtime.yaml``: the command of the pod."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    gc.disable()  # imports make many objects and no garbage: collecting would cost a third of the start

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pillion.server.settings import Settings

_EPILOG = """Every setting has a flag, an environment variable and a key of runtime.yaml's `settings`; the first
that is set wins: --http-port, PILLION_HTTP__PORT, http.port. `pillion config show` lists them with their sources.

exit codes: 0 stopped after a drain, 1 unexpected, 2 settings or usage, 3 a port cannot be bound, 4 TLS material"""


def plain(arguments: Sequence[str]) -> dict[str, str] | None:
    """``--flag VALUE`` pairs of known flags by dotted key, and ``config``; None where there is anything else, such as a
    question or a mistake, which argparse answers: to build its parser takes longer than to read the settings.
    """
    from pillion.server.sources import flag_of, leaves  # noqa: PLC0415 - heavy imports come after the arguments' own

    keys = {flag_of(key): key for key in leaves()} | {"--config": "config"}
    found: dict[str, str] = {}
    given = iter(arguments)
    for argument in given:
        flag, equals, value = argument.partition("=")
        key = keys.get(flag)
        if not equals:
            value = next(given, "")
        if key is None or not value or value.startswith("-"):
            return None
        found[key] = value
    return found


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found = plain(arguments)
    if found is not None:
        return found
    parser = _parser(asked_for_help=bool({"-h", "--help"} & set(arguments)))
    return {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}


def _parser(*, asked_for_help: bool) -> argparse.ArgumentParser:
    import argparse  # noqa: PLC0415 - see plain

    from pillion.server.sources import flag_of, leaves, meanings  # noqa: PLC0415 - heavy imports come after the arguments' own

    parser = argparse.ArgumentParser(
        prog="python -m pillion.server",
        description="Serve the models of a runtime.yaml over HTTP and gRPC.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="runtime.yaml, followed as it changes")
    settings = parser.add_argument_group("settings")
    texts = meanings() if asked_for_help else {}
    for key in leaves():
        described = texts.get(key, "").replace("%", "%%")
        settings.add_argument(flag_of(key), dest=key, metavar="VALUE", default=None, help=described)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped; returns the exit code."""
    from pillion.server.desired import read_runtime_file  # noqa: PLC0415 - as above
    from pillion.server.logs import configure  # noqa: PLC0415 - as above
    from pillion.server.settings import LogSettings  # noqa: PLC0415 - as above
    from pillion.server.sources import load_settings  # noqa: PLC0415 - as above

    configure(LogSettings())
    options = _options(sys.argv[1:] if arguments is None else arguments)
    named = options.pop("config", None)
    config = None if named is None else Path(named)
    try:
        file = None if config is None else read_runtime_file(config)
        layered = load_settings(
            flags=dict(options),
            file={} if file is None else file.settings,
            file_name=str(config),
        )
        configure(layered.settings.log)
        settings, workers = _counted(layered.settings)
        server_id = "0" if file is not None and file.applications else ""  # for their code, which may call pillion.stop
        if workers > 1:
            from pillion.server.front.supervisor import Supervisor  # noqa: PLC0415 - only where there are several

            gc.enable()
            Supervisor(settings, workers, config=config, server_id=server_id).run()
            return int(ExitCode.OK)
        from pillion.execution import garbage  # noqa: PLC0415 - only where models are served
        from pillion.execution.native_threads import limit  # noqa: PLC0415 - as above

        limit(os.environ)  # numerical libraries read it once, when they are imported
        from pillion.server.preload import import_libraries  # noqa: PLC0415 - bad settings are told before the heavy imports

        import_libraries()
        from pillion.server.server import Server  # noqa: PLC0415 - as above

        gc.freeze()  # or the first collection would walk all that was imported
        gc.enable()
        Server(settings, config=config, server_id=server_id).start(on_loaded=lambda *_: garbage.freeze())
        from pillion.leaving import leave_threads  # noqa: PLC0415 - all is done

        leave_threads(int(ExitCode.OK))
    except StartError as failure:
        logging.getLogger("pillion.server").error(  # noqa: TRY400 - the sentence is the interface, a traceback adds nothing
            "%s: %s", failure.doing, failure, extra={"exit_code": int(failure.code)}
        )
        sys.stderr.write(f"pillion: {failure.doing}: {failure}\n")
        return int(failure.code)
    return int(ExitCode.OK)


def _counted(settings: Settings) -> tuple[Settings, int]:
    """The settings with the number of front workers, and that number."""
    if settings.workers == 1:
        return settings, 1
    from pillion.server.front.count import counted  # noqa: PLC0415 - only where several are asked for

    return counted(settings)


if __name__ == "__main__":
    sys.exit(main())
