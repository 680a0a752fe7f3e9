"""Which targets of ``pillion serve`` are applications, and those of a manifest, as runtime.yaml has them."""

from __future__ import annotations

import ast
import importlib.machinery
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.authoring.names import model_name
from pillion.cli.failures import CommandError
from pillion.cli.local import code_target
from pillion.runtimefile import Code, DesiredApplication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from pillion.resources import InferenceService

__all__ = ["from_services", "http_settings", "named_applications"]


def named_applications(
    targets: Sequence[str], route_prefix: str | None
) -> tuple[tuple[DesiredApplication, ...], list[str]]:
    """The applications among the targets, and the other targets.

    ``--route-prefix`` says that its target is one; without it, the source does: a function, a value such as
    ``app = FastAPI()``, or a class with ``__call__`` or an ingress. Nothing is imported to find that out.

    Raises:
        CommandError: a prefix is given and does not fit the targets.
    """
    if route_prefix is not None and len(targets) != 1:
        raise CommandError(
            "--route-prefix is one application's: name one, or write several with their prefixes into a manifest (-f)",
            code=2,
        )
    applications, others = [], []
    for target in targets:
        code = code_target(target, Path.cwd(), dotted=True)
        if code is not None and code.class_name and (route_prefix is not None or _is_application(code)):
            applications.append(_desired(target, code, route_prefix or "/"))
        elif route_prefix is not None:
            raise CommandError(
                f"--route-prefix: {target} is no application: write module:attribute, such as service.py:app", code=2
            )
        else:
            others.append(target)
    if len(applications) > 1:
        raise CommandError(
            "several applications need prefixes of their own: write them into a manifest, "
            "spec.predictor.applications, and serve that (-f FILE)",
            code=2,
        )
    return tuple(applications), others


def _desired(target: str, code: Code, route_prefix: str) -> DesiredApplication:
    name = model_name(code.class_name.rpartition(".")[2].strip("_")) or "app"
    try:
        return DesiredApplication(name=name[:63], code=code, route_prefix=route_prefix)
    except ValueError as error:
        raise CommandError(f"{target}: --route-prefix: {error}", code=2) from None


def _source(code: Code) -> Path | None:
    if code.module.endswith(".py"):
        return Path(code.module)
    folder: list[str] | None = [code.folder]
    spec = None
    parts = code.module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        spec = importlib.machinery.PathFinder.find_spec(name, folder) or (
            importlib.machinery.PathFinder.find_spec(name) if length == 1 else None
        )
        if spec is None:
            return None
        folder = list(spec.submodule_search_locations or ())
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _is_application(code: Code) -> bool:
    """What the source says of a name; False where it cannot be told, and for classes of models."""
    path = _source(code)
    if path is None or path.suffix != ".py":
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False  # who imports it tells better what is wrong
    first, _, rest = code.class_name.partition(".")
    if rest:
        return True  # a model is a class of the module itself
    found: ast.stmt | None = None
    for statement in tree.body:
        if _defines(statement, first):
            found = statement
    if isinstance(found, ast.ClassDef):
        decorators = {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in found.decorator_list}
        if decorators & {"ingress", "pillion.ingress"}:
            return True
        methods = {s.name for s in found.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))}
        bases = {ast.unparse(base).rpartition(".")[2] for base in found.bases}
        return "__call__" in methods and "Model" not in bases
    return found is not None


def _defines(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return statement.name == name
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)
    return (
        isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == name
    )


def from_services(services: Sequence[InferenceService], folder: Path) -> tuple[DesiredApplication, ...]:
    """The applications of a manifest, their modules found in its folder or where packages are installed.

    Raises:
        CommandError: one cannot be.
    """
    found = []
    for service in services:
        for number, one in enumerate(service.spec.predictor.applications or []):
            module, _, attribute = one.import_path.partition(":")
            values: dict[str, Any] = {
                "max_ongoing_requests": one.max_ongoing_requests,
                "max_queued_requests": one.max_queued_requests,
                "request_timeout_seconds": one.request_timeout_seconds,
            }
            try:
                found.append(
                    DesiredApplication(
                        name=one.name,
                        code=Code(module=module, class_name=attribute, folder=str(folder)),
                        route_prefix=one.route_prefix or "/",
                        args=dict(one.args or {}),
                        **values,
                    )
                )
            except ValueError as error:
                raise CommandError(f"spec.predictor.applications[{number}]: {error}", code=2) from None
    return tuple(found)


def http_settings(services: Sequence[InferenceService]) -> dict[str, JsonValue]:
    """``spec.predictor.http`` as settings of the server, by dotted key.

    Raises:
        CommandError: two services want different ones of the one server here.
    """
    settings: dict[str, JsonValue] = {}
    for service in services:
        http = service.spec.predictor.http
        if http is None:
            continue
        wanted: dict[str, JsonValue] = {
            "http.keep_alive_timeout": http.keep_alive_timeout_seconds,
            "http.request_timeout_seconds": http.request_timeout_seconds,
            "http.root_path": http.root_path,
        }
        for key, value in wanted.items():
            if value is None:
                continue
            if settings.setdefault(key, value) != value:
                raise CommandError(
                    f"spec.predictor.http: two services want another {key} each, and one server serves both here",
                    code=2,
                )
    return settings
