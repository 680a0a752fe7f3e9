"""``pillion graph``: what the graph of a manifest looks like, and how long its steps take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pillion.cli.failures import EXIT_CODES, CommandError, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pillion.graph.document import Graph
    from pillion.graph.drawing import StepTimes

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion graph -f payments.yaml
  pillion graph -f payments.yaml --url http://127.0.0.1:8082
  pillion graph -f payments.yaml --format mermaid
  pillion graph -f payments.yaml --format svg > payments.svg

{EXIT_CODES}"""
_SECONDS = 10.0


class Format(StrEnum):
    """What is drawn."""

    TREE = "tree"
    MERMAID = "mermaid"
    SVG = "svg"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("graph", epilog=_EPILOG)(graph)


def graph(
    file: Annotated[
        Path,
        typer.Option(
            "-f", "--file", help="An InferenceService with spec.graph, or a runtime file; - reads standard input."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Which of several graphs: the model that it is served as.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How it is drawn.")] = Format.TREE,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Admin port of a server that serves it: show how long each step took there."),
    ] = None,
) -> None:
    """Draw the graph of a manifest, with the time that each step takes."""
    from pillion.graph.drawing import mermaid, parts, svg, tree  # noqa: PLC0415 - keeps --help quick

    found = _graphs(file)
    if not found:
        raise CommandError(f"{file}: holds no graph: an InferenceService has it in spec.graph", code=2)
    if name is None and len(found) > 1:
        raise CommandError(f"{file}: holds the graphs {', '.join(found)}: choose one by --name", code=2)
    if name is not None and name not in found:
        raise CommandError(f"--name {name}: {file} holds the graphs {', '.join(found)}", code=2)
    chosen = name or next(iter(found))
    times: Mapping[str, StepTimes] = {} if url is None else _times(url, chosen)
    draw = {Format.TREE: tree, Format.MERMAID: mermaid, Format.SVG: svg}[form]
    typer.echo(draw(parts(found[chosen], chosen), times))


def _graphs(file: Path) -> dict[str, Graph]:
    from pillion.runtimefile import API_VERSION  # noqa: PLC0415 - as above

    text = text_of(file)
    return dict(_of_runtime_file(text, file) if API_VERSION in text else _of_manifest(text, file))


def _of_runtime_file(text: str, file: Path) -> Iterator[tuple[str, Graph]]:
    from pillion.graph.check import read  # noqa: PLC0415 - as above
    from pillion.runtimefile import RuntimeFileError, load  # noqa: PLC0415 - as above

    try:
        loaded = load(text, source=str(file))
    except RuntimeFileError as error:
        raise CommandError(str(error), code=2) from None
    for model in loaded.models:
        if model.graph is not None:
            yield model.name, read(model.graph, model.name)


def _of_manifest(text: str, file: Path) -> Iterator[tuple[str, Graph]]:
    from pillion.resources import InferenceService, ManifestError, load_manifests  # noqa: PLC0415 - as above
    from pillion.resources.graph_models import graph_name  # noqa: PLC0415 - as above

    try:
        manifests: list[Any] = load_manifests(text, source=str(file))
    except ManifestError as error:
        raise CommandError(str(error), code=2) from None
    for manifest in manifests:
        service = manifest.resource
        if isinstance(service, InferenceService) and service.spec.graph is not None:
            yield graph_name(service), service.spec.graph.document()


def _times(url: str, flow: str) -> Mapping[str, StepTimes]:
    import httpx  # noqa: PLC0415 - as above

    from pillion.graph.scraped import step_times  # noqa: PLC0415 - as above

    address = f"{url.rstrip('/')}/metrics"
    try:
        answer = httpx.get(address, timeout=_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise CommandError(f"{address}: {str(error) or type(error).__name__}: is the server running there?") from None
    except httpx.InvalidURL as error:
        raise CommandError(f"--url {url}: {error}", code=2) from None
    if answer.status_code != httpx.codes.OK:
        raise CommandError(f"{address}: HTTP {answer.status_code}: metrics are on the admin port, as http://HOST:8082")
    times = step_times(answer.text, flow)
    if not times:
        typer.echo(f"{address} has no times of {flow}: it is not served there, or was not called yet", err=True)
    return times
