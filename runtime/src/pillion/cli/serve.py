"""``pillion serve`` and its alias ``pillion run``: models on this machine."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.failures import EXIT_CODES, SAY_WHY, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from pillion.cli.worker_contexts import ContextsFile
    from pillion.runtimefile import RuntimeFile
    from pillion.server import Server
    from pillion.server.sources import Layered

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion serve iris.skops
  pillion serve iris=s3://models/iris.skops churn=./churn.onnx
  pillion serve -f inferenceservice.yaml
  pillion serve models/                            # as laid out for Triton or MLServer
  pillion serve models/ --watch                    # its models, as they come and go
  pillion serve --store models/                    # what `pillion models deploy` sends
  pillion serve service.py:Mood --reload           # a class of your own
  pillion serve shop.py:app --route-prefix /shop   # a FastAPI or other ASGI application
  pillion serve model.joblib --allow-pickle        # a pickle can run code: only if you trust it
  pillion serve model.skops --trust scoring.Clip   # the file holds a class of yours
  pillion serve iris.skops --tls-self-signed

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve", epilog=_EPILOG)(serve)
    app.command("run", epilog=_EPILOG, help="Alias of `serve`.")(serve)


def serve(  # noqa: PLR0917 - the options of a command line
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="A file or folder, NAME=URI, or service.py:Class; several."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="A manifest with InferenceServices; - reads standard input.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port; 0: any free one.  [default: 8080]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port; 0: any free one.  [default: 8081]")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of metrics and probes; 0: any free one.  [default: 8082]")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load pickles, and programs of PyTorch: they can run any code.")
    ] = False,
    pickle_policy: Annotated[
        str | None,
        typer.Option(
            help="Pickle and joblib files: deny, perObject (where a manifest allows it) or allow.  [default: perObject]"
        ),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", metavar="TYPE", help="A type that a skops file may hold: package.module.Name."),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Load a class again when its files change.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="MODEL is a folder of models: serve what is in it, as it comes and goes.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Keep models that are deployed by requests here, and serve them again."),
    ] = None,
    route_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="MODEL is an application, module:app, that answers below PATH.  [default: /]"
        ),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="What a class loads, load(self, artifact) or a module's weights: path or URI."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where PyTorch computes, and self.device of a class: cpu, cuda, cuda:1 or auto."),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="Where calls run: auto, inline, thread or process (workers that each load the model)."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Worker processes of each model, with --executor process.  [default: one per CPU]", min=1, max=256
        ),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Processes that answer on these ports, each with all models; auto: one per CPU.  [default: 1]",
        ),
    ] = None,
    worker_context: Annotated[
        Path | None,
        typer.Option(
            "--worker-context",
            metavar="FILE",
            help="A list in JSON or YAML: its entry for each worker is the application's worker_context.",
        ),
    ] = None,
    accelerate: Annotated[
        str | None,
        typer.Option(
            metavar="onnx", help="Compute scikit-learn models by ONNX Runtime where that gives equal answers faster."
        ),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="URI=PATH", help="Where storage of a cluster is here: configmap://iris=./iris"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder for jobs, trainings and their results.  [default: one of this user's for each HTTP port]",
        ),
    ] = None,
    tls_cert: Annotated[str | None, typer.Option(help="Certificate chain (PEM file).")] = None,
    tls_key: Annotated[str | None, typer.Option(help="Private key (PEM file).")] = None,
    tls_client_ca: Annotated[
        str | None, typer.Option(help="CA of client certificates (PEM file): clients must show one.")
    ] = None,
    tls_self_signed: Annotated[
        bool, typer.Option("--tls-self-signed", help="Make a certificate for this machine, and use it.")
    ] = False,
    http_keep_alive_timeout: Annotated[
        float | None, typer.Option(help="Seconds an idle connection is kept.  [default: 90]")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.  [default: warning]")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json.  [default: text on a terminal]")] = None,
    log_access: Annotated[float | None, typer.Option(help="Share of requests to log, 0 to 1.  [default: 0]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line when ready.")] = False,
) -> None:
    """Serve models on this machine over HTTP and gRPC, until Ctrl-C.

    Every other setting can be given by its environment variable: see `pillion config show`.
    """
    from pillion.cli.local import Consent  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.targets import from_manifest, from_targets, mappings, run_by  # noqa: PLC0415 - as above

    folder = _watched(targets, file) if watch else None
    if folder is not None:
        targets = []
    if (file is None) == (not targets) and not (file is None and (folder or store)):
        raise CommandError("name what to serve: a model (pillion serve iris.skops) or a manifest (-f FILE)", code=2)
    if allow_pickle and pickle_policy == "deny":
        raise CommandError("--allow-pickle and --pickle-policy deny exclude each other", code=2)
    if file is not None and (reload or artifact or device or executor or processes):
        raise CommandError(
            "--reload, --artifact, --device, --executor and --processes go without -f: pillion serve service.py:Class",
            code=2,
        )
    if file is not None and route_prefix is not None:
        raise CommandError("--route-prefix goes without -f: the manifest says it, applications[].routePrefix", code=2)
    mapped = mappings(maps or [])
    consent = Consent(allow_pickle, _types(trust or []))
    notes: list[str] = []
    if file is not None:
        runtime_file, notes = from_manifest(file, consent, mapped=mapped)
    else:
        runtime_file = from_targets(
            targets or [], consent, mapped=mapped, artifact=artifact, device=device, route_prefix=route_prefix
        )
        runtime_file = run_by(runtime_file, executor, processes)
    if reload and not any(model.code for model in runtime_file.models):
        raise CommandError("--reload follows the files of a class: name one, service.py:Class", code=2)
    if notes:
        sys.stderr.write(f"not used on this machine: {', '.join(notes)}\n")
    ca: Path | None = None
    if tls_self_signed:
        if tls_cert or tls_key:
            raise CommandError("--tls-self-signed and --tls-cert/--tls-key exclude each other", code=2)
        from pillion.cli.selfsigned import make  # noqa: PLC0415 - as above
        from pillion.cli.targets import cache_folder  # noqa: PLC0415 - as above

        pair = make(cache_folder() / "tls", host)
        ca, tls_cert, tls_key = pair.cert, str(pair.cert), str(pair.key)
    flags: dict[str, JsonValue] = {
        "workers": workers,
        "http.host": host,
        "grpc.host": host,
        "admin.host": host,
        "http.port": http_port,
        "grpc.port": grpc_port,
        "admin.port": admin_port,
        "http.keep_alive_timeout": http_keep_alive_timeout,
        "tls.server.cert": tls_cert,
        "tls.server.key": tls_key,
        "tls.client.cert": tls_client_ca,
        "models.pickle_policy": pickle_policy,
        "models.accelerate": accelerate,
        "jobs.folder": None if data_dir is None else str(data_dir.expanduser().absolute()),
        "log.level": log_level,
        "log.format": log_format,
        "log.access": log_access,
        "models.store": store,
        "models.watch": None if folder is None else str(folder),
        "models.watch_allow_pickle": allow_pickle or None,
    }
    given: dict[str, JsonValue] = {key: value for key, value in flags.items() if value is not None}
    contexts = None
    if worker_context is not None:
        from pillion.cli.worker_contexts import ContextsFile  # noqa: PLC0415 - few ask for it

        contexts = ContextsFile(worker_context, runtime_file)
    _run(runtime_file, given, ca, contexts, as_json=as_json, reload=reload)


def _watched(targets: list[str] | None, file: Path | None) -> Path:
    """The one folder that is to be watched."""
    if file is not None or not targets or len(targets) != 1 or not Path(targets[0]).expanduser().is_dir():
        raise CommandError("--watch goes with one folder of models: pillion serve DIR --watch", code=2)
    return Path(targets[0]).expanduser().resolve()


def _types(names: list[str]) -> tuple[str, ...]:
    from pillion.runtimefile import TYPE_NAME  # noqa: PLC0415 - keeps --help quick

    for name in names:
        if not re.fullmatch(TYPE_NAME, name):
            raise CommandError(f"--trust {name}: write a type as package.module.Name", code=2)
    return tuple(dict.fromkeys(names))


def local_settings(flags: dict[str, JsonValue], manifest: Mapping[str, JsonValue] | None = None) -> Layered:
    """Settings with the defaults of a laptop below flags and environment: loopback, quiet, no preStop.

    ``manifest`` has those that a manifest says, by dotted key; they are below flags and environment, too.
    """
    from pillion.server.sources import load_settings  # noqa: PLC0415 - keeps --help quick

    local: dict[str, JsonValue] = {
        "http.host": "127.0.0.1",
        "grpc.host": "127.0.0.1",
        "admin.host": "127.0.0.1",
        "log.level": "warning",
        "control.socket": "",
        "drain.window_seconds": 0,
        **(manifest or {}),
    }
    layered = load_settings(flags=flags, file=local, file_name="pillion serve")
    more: dict[str, JsonValue] = {}
    changes = layered.settings.workers == 1 and _loopback(layered.settings.http.host)
    if changes and layered.origins["management.enabled"] == "default":
        more["management.enabled"] = True
    if changes and layered.origins["jobs.roots"] == "default":
        more["jobs.roots"] = [str(Path.cwd())]  # those who can ask for a training are users of this machine
    port = layered.settings.http.port
    unnamed = layered.origins["jobs.folder"] == "default" and layered.settings.jobs.database is None
    if unnamed and port and layered.settings.workers == 1:
        # A port is one server's at a time, and the same one's again after a restart: so its jobs are found again.
        more |= {"jobs.folder": str(state_folder() / f"port-{port}"), "jobs.make_when_needed": True}
    return load_settings(flags=flags, file=local | more, file_name="pillion serve") if more else layered


def state_folder() -> Path:
    """Where what must outlive a server is kept: ``$XDG_STATE_HOME/pillion``, by default ``~/.local/state/pillion``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "pillion"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reloaded(name: str, seconds: float, failure: str) -> None:
    """One line for each reload that succeeded; the log has the others."""
    if not failure:
        typer.echo(f"reloaded {name} in {seconds:.2f} s")
        sys.stdout.flush()


def _several(
    layered: Layered,
    runtime_file: RuntimeFile,
    ca: Path | None,
    contexts: ContextsFile | None,
    *,
    as_json: bool,
    reload: bool,
) -> bool:
    """Serve with several front workers, where that is asked for; False where one process is to serve.

    Raises:
        CommandError: the models cannot be loaded.
        StartError: no worker can be started.
    """
    if layered.settings.workers == 1:
        return False
    from pillion.server.front.count import counted  # noqa: PLC0415 - only where several are asked for

    settings, workers = counted(layered.settings)
    if workers == 1:
        return False
    if reload:
        raise CommandError(f"--reload follows the files of one process, and these are {workers} (workers)", code=2)
    from pillion.cli.front_workers import supervise  # noqa: PLC0415 - as above

    packed = again = None
    if contexts is not None:
        packed, again = contexts.packed(workers), functools.partial(contexts.packed_again, workers)
    supervise(settings, workers, runtime_file, ca, packed, again, as_json=as_json)
    return True


def _run(
    runtime_file: RuntimeFile,
    flags: dict[str, JsonValue],
    ca: Path | None,
    contexts: ContextsFile | None,
    *,
    as_json: bool,
    reload: bool,
) -> None:
    import logging  # noqa: PLC0415 - keeps --help quick

    import msgspec  # noqa: PLC0415 - as above

    from pillion.execution import garbage  # noqa: PLC0415 - as above
    from pillion.server.failures import StartError  # noqa: PLC0415 - as above
    from pillion.server.logs import configure  # noqa: PLC0415 - as above

    failed: list[str] = []
    hushed = [logging.getLogger(name) for name in SAY_WHY] if sys.stderr.isatty() else []

    def loaded(server: Server, seconds: float) -> None:
        from pillion.cli.ready import failures, ready_text  # noqa: PLC0415 - as above

        for logger in hushed:
            logger.setLevel(logging.NOTSET)
        # What was deployed before and does not load any more is told, and can be undeployed: the server goes on.
        named = {model.name for model in runtime_file.models}
        failed.extend(failures([status for status in server.statuses() if status.name in named]))
        if failed and not server.ready():
            server.stop()
            return
        typer.echo(ready_text(server, layered.settings, seconds, ca, runtime_file.models, as_json=as_json))
        sys.stdout.flush()
        garbage.freeze()

    try:
        layered = local_settings(flags, runtime_file.settings)
        configure(layered.settings.log)
        for logger in hushed:
            logger.setLevel(logging.CRITICAL)
        if _several(layered, runtime_file, ca, contexts, as_json=as_json, reload=reload):
            return
        from pillion.execution.native_threads import limit  # noqa: PLC0415 - only where models are served

        limit(os.environ)  # numerical libraries read it once, when they are imported
        from pillion.server import Server  # noqa: PLC0415 - as above

        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        follow = None
        if reload:
            from pillion.server.reload import CodeReload  # noqa: PLC0415 - as above

            # A cached file is told from its source by time and size: an edit within the same second would be missed.
            sys.dont_write_bytecode = True
            follow = CodeReload(_reloaded)
        settings = msgspec.structs.replace(layered.settings, workers=1)  # where auto is one
        Server(
            settings,
            models=runtime_file.models,
            reload=follow,
            applications=runtime_file.applications,
            server_id="0",
            context=None if contexts is None else contexts.only(),
        ).start(on_loaded=loaded)
    except StartError as failure:
        raise CommandError(str(failure), code=int(failure.code)) from None
    if failed:
        raise CommandError("\n       ".join(failed))
