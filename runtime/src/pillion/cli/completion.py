"""``pillion completion``: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

__all__ = ["register"]

_SHELLS: Final = ("bash", "zsh", "fish")
_EPILOG = f"""\b
Examples:
  source <(pillion completion bash)                                    # in ~/.bashrc
  pillion completion zsh > "${{fpath[1]}}/_pillion"
  pillion completion fish > ~/.config/fish/completions/pillion.fish

Names of InferenceServices are completed from the current context.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("completion", epilog=_EPILOG)(completion)


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help=f"One of: {', '.join(_SHELLS)}.")],
) -> None:
    """Print the completion script of a shell."""
    if shell not in _SHELLS:
        raise CommandError(f"no script for the shell {shell}: there are {', '.join(_SHELLS)}", code=2)
    from typer import completion as scripts  # noqa: PLC0415 - keeps --help quick

    # As `--show-completion` does; typer has no public name for it that says the shell.
    make = scripts.get_completion_script  # type: ignore[attr-defined]  # imported there from where it moves about
    typer.echo(make(prog_name="pillion", complete_var="_PILLION_COMPLETE", shell=shell))
