"""The ``pillion`` command. Each command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, NoReturn

import typer

from pillion._version import __version__
from pillion.cli.failures import EXIT_CODES, CommandError, missing_extra

__all__ = ["app", "main"]

app = typer.Typer(
    name="pillion",
    help="Serve models on this machine, bring them to a cluster, and look after them there.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Help without rich: importing what typer needs of it would double the time of `pillion --help`.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command(epilog=EXIT_CODES)
def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: `pillion version --json`
    """
    typer.echo(json.dumps({"version": __version__}) if as_json else __version__)


def _register() -> None:
    from pillion.cli import (  # noqa: PLC0415 - they register on this app
        batch,
        build,
        client_stubs,
        completion,
        config,
        conformance,
        convert,
        convert_model,
        crd,
        deploy,
        graph,
        jobs,
        logs,
        models,
        new,
        predict,
        proto,
        push,
        rollout,
        serve,
        status,
        support_bundle,
        top,
        train,
        validate,
    )

    for module in (
        new,
        serve,
        predict,
        client_stubs,
        proto,
        train,
        jobs,
        batch,
        build,
        push,
        deploy,
        status,
        top,
        logs,
        support_bundle,
        rollout,
        models,
        validate,
        graph,
        conformance,
        convert,
        convert_model,
        config,
        crd,
        completion,
    ):
        module.register(app)


_register()


def main() -> None:
    """Run the command line; what a user can mend is one line, not a traceback."""
    _run("pillion")


def plugin() -> None:
    """Run as ``kubectl pillion``: the same commands, which mean the cluster where both could be meant."""
    _run("kubectl pillion")


def _run(name: str) -> None:
    try:
        _invoke(name)
    except SystemExit as end:
        if "obstore" in sys.modules and (end.code is None or isinstance(end.code, int)):
            from pillion.leaving import leave  # noqa: PLC0415 - it costs --help nothing

            leave(end.code or 0)
        if "pillion.applications.threads" in sys.modules and (end.code is None or isinstance(end.code, int)):
            from pillion.leaving import leave_threads  # noqa: PLC0415 - as above

            leave_threads(end.code or 0)
        raise


def _invoke(name: str) -> None:
    try:
        if "_PILLION_COMPLETE" in os.environ:
            # The app has no options of its own for completion, so typer has not prepared it.
            from typer import completion  # noqa: PLC0415 - keeps --help quick

            completion.completion_init()  # type: ignore[attr-defined]  # imported there from where it moves about
        app(prog_name=name)
    except CommandError as failure:
        _fail(failure)
    except ModuleNotFoundError as error:
        missing = missing_extra(error, sys.argv[1:])
        if missing is None:
            raise
        _fail(missing)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(failure: CommandError) -> NoReturn:
    sys.stderr.write(f"error: {failure}\n")
    sys.exit(failure.code)


if __name__ == "__main__":
    main()
