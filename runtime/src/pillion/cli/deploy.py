"""``pillion deploy``: a model or a manifest into a cluster, waited for, and told why when it does not arrive."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace  # noqa: TC001 - typer reads them at run time
from pillion.cli.failures import EXIT_CODES, CommandError, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.build import Wanted
    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.deployment import Manifest
    from pillion.storage.local_artifact import LocalArtifact

__all__ = ["register"]

_DEFAULT: Final = "inferenceservice.yaml"
_MANIFEST_SUFFIXES: Final = (".yaml", ".yml", ".json")
_POLL_SECONDS: Final = 1.0
_TROUBLE_SECONDS: Final = 20.0
"""How long trouble that may pass is given: a Secret that comes a moment later, a pull that is tried again."""
_EPILOG = f"""\b
Examples:
  pillion deploy                                     # the inferenceservice.yaml of this folder
  pillion deploy iris.skops                          # the model alone: the manifest is made
  pillion deploy iris.skops --dry-run > iris.yaml    # for GitOps; contacts no cluster
  pillion deploy model.onnx --name churn --to s3://models/churn/v3/
  pillion deploy mood/ --image registry.example/team/mood:v1   # a class of your own: built, pushed, applied
  pillion deploy mood/ --to s3://models/mood/v1/ --trust-code  # the same without an image, where the policy lets it

A model of up to 1 MiB travels in a ConfigMap; a larger one needs --to.

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("deploy", epilog=_EPILOG)(deploy)


@dataclass(slots=True)
class _Plan:
    """What is to be applied, in this order, and whom to wait for."""

    manifests: list[Manifest] = field(default_factory=list)
    services: list[tuple[str, str]] = field(default_factory=list)
    """Name, and namespace where the manifest says one."""
    notes: list[str] = field(default_factory=list)


def deploy(  # noqa: PLR0917 - the options of a command line
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|MODEL|PROJECT]", help=f"A manifest, a model, or a class.  [default: {_DEFAULT}]"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name for a MODEL's service.  [default: the file's name]")] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Push the model there: s3:// gs:// az:// oci://, see `pillion push`."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="HOST/NAME:TAG", help="Build a class into it and push: see `pillion build`.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Of --image: the image to build on.  [default: Pillion's]")] = None,
    artifact: Annotated[
        str | None, typer.Option(metavar="PATH", help="Of --image: what the class loads, a path in the project.")
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="Of --image: linux/amd64 or linux/arm64.  [default: linux/amd64]")
    ] = None,
    insecure_registry: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Of --image: a registry without TLS.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be applied; push and apply nothing.")
    ] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="Of --dry-run: yaml or json.")] = "yaml",
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let a pickle or joblib MODEL be loaded, which can run any code.")
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Let a class run from storage, without an image: who writes there runs code."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take over fields that others manage; overwrite what --to has there.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until it is ready; 0: do not wait.")] = 300.0,
) -> None:
    """Bring a model or a manifest to a cluster, and wait until it answers.

    Ends with 1, and says why, where it does not become ready. A storageUri configmap://NAME whose model is beside the
    manifest gets its ConfigMap, as `pillion serve -f` finds it.
    """
    if output not in {"yaml", "json"}:
        raise CommandError(f"-o {output}: write yaml or json", code=2)
    if image is None and (base or artifact or platform or insecure_registry):
        raise CommandError(
            "--base, --artifact, --platform and --insecure-registry are of --image HOST/NAME:TAG", code=2
        )
    chosen = source or (_found_here() if image is None else ".")
    if image is not None:
        if to is not None or allow_pickle or trust_code:
            raise CommandError("--to, --allow-pickle and --trust-code go without --image, which is for a class", code=2)
        from pillion.cli.build import Wanted  # noqa: PLC0415 - keeps --help quick

        wanted = Wanted(
            chosen, base or "", tuple(platform or ()), name or "",
            artifact=artifact or "", insecure=tuple(insecure_registry or ()),
        )  # fmt: skip
        plan = _from_class(wanted, image, push=not dry_run)
    elif trust_code or _is_code(chosen):
        _require_consent(chosen, trust_code=trust_code, allow_pickle=allow_pickle)
        plan = _from_code(Path(chosen), name, to, push=not dry_run, force=force)
    elif chosen == "-" or chosen.endswith(_MANIFEST_SUFFIXES):
        if name is not None or allow_pickle:
            raise CommandError("--name and --allow-pickle are for a MODEL: a manifest says both itself", code=2)
        plan = _from_manifest(chosen, to, push=not dry_run, force=force)
    else:
        plan = _from_model(Path(chosen), name, to, allow_pickle=allow_pickle, push=not dry_run, force=force)
    for note in plan.notes:
        sys.stderr.write(f"{note}\n")
    if dry_run:
        typer.echo(_printed(plan.manifests, namespace, output), nl=False)
        return
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - keeps --help quick

    kubectl = connect(context, namespace, kubeconfig)
    _apply(kubectl, plan.manifests, scope=namespace, force=force)
    if timeout > 0:
        _wait(kubectl, plan.services, timeout)


def _found_here() -> str:
    if not Path(_DEFAULT).is_file():
        raise CommandError(f"name a model or a manifest: there is no {_DEFAULT} in this folder", code=2)
    return _DEFAULT


def _is_code(text: str) -> bool:
    """Whether a user means a class: its file, or the folder of a project that holds nothing to deploy but one."""
    path = Path(text)
    return ".py" in path.suffix or (path.is_dir() and (path / "service.py").is_file())


def _from_class(wanted: Wanted, image: str, *, push: bool) -> _Plan:
    from pillion.cli.build import pushed  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.deployment import own_image, service_name  # noqa: PLC0415 - as above

    if wanted.name:
        service_name(wanted.name)
    name, pinned = pushed(wanted, image, push=push)
    return _Plan(manifests=[own_image(service_name(name), pinned)], services=[(name, "")])


def _from_model(path: Path, name: str | None, to: str | None, *, allow_pickle: bool, push: bool, force: bool) -> _Plan:
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - keeps --help quick
    from pillion.backends.detect import UNSAFE, detect  # noqa: PLC0415 - as above
    from pillion.backends.unsafe import unsafe_refusal  # noqa: PLC0415 - as above
    from pillion.cli.deployment import inference_service, service_name  # noqa: PLC0415 - as above
    from pillion.cli.local import Consent, named_source  # noqa: PLC0415 - as above
    from pillion.cli.push import read, stated_digest  # noqa: PLC0415 - as above

    service = service_name(name or named_source(path.name, Consent()).name)
    artifact = read(path)
    try:
        found = detect(path)
        if found.kind in UNSAFE and not allow_pickle:
            raise unsafe_refusal(found.path, found.kind)
    except ModelLoadError as error:
        raise CommandError(str(error), code=2) from None
    plan = _Plan(services=[(service, "")])
    uri = _stored(plan, service, path, artifact, to, push=push, force=force)
    pickled = found.kind in UNSAFE
    plan.manifests.append(
        inference_service(service, found.backend, uri, stated_digest(artifact, uri), allow_pickle=pickled)
    )
    return plan


def _require_consent(chosen: str, *, trust_code: bool, allow_pickle: bool) -> None:
    """Refuse a class without an image that nobody consented to, and consent without a class."""
    if not trust_code:
        raise CommandError(
            f"{chosen} is Python: in a cluster code runs only from an image, so say where that goes: "
            f"pillion deploy {chosen} --image HOST/NAME:TAG; or, if you trust everybody who can write where it is "
            "stored: --trust-code",
            code=2,
        )
    if allow_pickle or not _is_code(chosen):
        raise CommandError(
            "--trust-code is for a class in Python: name its file or its folder, without --allow-pickle", code=2
        )


def _from_code(path: Path, name: str | None, to: str | None, *, push: bool, force: bool) -> _Plan:
    """A class that runs from storage by its owner's consent: nothing of it is imported here."""
    from pillion.backends.api import ModelLoadError  # noqa: PLC0415 - keeps --help quick
    from pillion.backends.python_folder import code_in  # noqa: PLC0415 - as above
    from pillion.cli.deployment import inference_service, service_name  # noqa: PLC0415 - as above
    from pillion.cli.push import read, stated_digest  # noqa: PLC0415 - as above
    from pillion.runtimefile import PYTHON  # noqa: PLC0415 - as above

    if not path.exists():
        raise CommandError(f"{path}: no such file or folder; name the class's file or folder, without :Class", code=2)
    try:
        code_in(path)
    except ModelLoadError as error:
        raise CommandError(str(error), code=2) from None
    service = service_name(name or (path.stem if path.is_file() else path.resolve().name))
    artifact = read(path)
    plan = _Plan(services=[(service, "")])
    uri = _stored(plan, service, path, artifact, to, push=push, force=force)
    plan.manifests.append(inference_service(service, PYTHON, uri, stated_digest(artifact, uri), trust_code=True))
    return plan


def _stored(
    plan: _Plan, service: str, path: Path, artifact: LocalArtifact, to: str | None, *, push: bool, force: bool
) -> str:
    """Where the model will be: pushed, or in a ConfigMap that the plan gets."""
    from pillion.cli import deployment  # noqa: PLC0415 - keeps --help quick

    if to is not None:
        return _pushed(artifact, to, push=push, force=force)
    deployment.require_fits(artifact, str(path))
    name = deployment.config_map_name(service, artifact.digest)
    plan.manifests.append(deployment.config_map(name, service, _content(artifact), immutable=True))
    return deployment.config_map_uri(name, artifact)


def _pushed(artifact: LocalArtifact, to: str, *, push: bool, force: bool) -> str:
    from pillion.cli.push import destination_of, upload  # noqa: PLC0415 - keeps --help quick

    return upload(artifact, to, force=force).uri if push else destination_of(artifact, to)


def _content(artifact: LocalArtifact) -> dict[str, bytes]:
    return {file.path: file.source.read_bytes() for file in artifact.files}


def _from_manifest(source: str, to: str | None, *, push: bool, force: bool) -> _Plan:
    from pillion.cli.push import read  # noqa: PLC0415 - keeps --help quick
    from pillion.resources import InferenceService, ManifestError, load_manifests  # noqa: PLC0415 - as above

    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        manifests = load_manifests(text, source=source)
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(source, error) from None
    except ManifestError as error:
        raise CommandError(str(error), code=2) from None
    beside = Path.cwd() if source == "-" else Path(source).resolve().parent
    there = {(manifest.kind, manifest.name) for manifest in manifests}
    plan = _Plan()
    for manifest in manifests:
        content: Manifest = dict(manifest.content)
        if isinstance(manifest.resource, InferenceService):
            plan.services.append((manifest.name, manifest.resource.metadata.namespace or ""))
            model = manifest.resource.spec.predictor.serving_model
            path = _local(plan, model.storage_uri if model else None, beside, there)
            if path is not None and model is not None and model.storage_uri:
                content = _with_model(plan, content, model.storage_uri, path, read(path), to, push=push, force=force)
            elif to is not None:
                raise CommandError(f"--to: no model of {manifest.name} is on this machine to be pushed", code=2)
        plan.manifests.append(content)
    if not plan.services:
        raise CommandError(f"{source}: holds no InferenceService", code=2)
    if to is not None and len(plan.services) > 1:
        raise CommandError(f"--to names one place, and {source} has {len(plan.services)} services: push first", code=2)
    return plan


def _local(plan: _Plan, uri: str | None, beside: Path, there: set[tuple[str, str]]) -> Path | None:
    """Where the model of a storageUri is on this machine; None where the cluster has it."""
    from pillion.cli.local import resolve  # noqa: PLC0415 - keeps --help quick

    if uri is None or not uri.startswith(("configmap://", "file://")):
        return None
    name = uri.partition("://")[2].partition("/")[0]
    if ("ConfigMap", name) in there:
        return None
    try:
        return resolve(uri, beside=beside, mapped={})
    except CommandError:
        if uri.startswith("file://"):
            raise
        plan.notes.append(f"{uri}: no such model beside the manifest, so the ConfigMap must be in the cluster already")
        return None


def _with_model(
    plan: _Plan, content: Manifest, uri: str, path: Path, artifact: LocalArtifact, to: str | None, *, push: bool,
    force: bool,
) -> Manifest:  # fmt: skip
    """The manifest with its model brought along, and pinned so that another model is another version."""
    from pillion.cli import deployment  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.push import stated_digest  # noqa: PLC0415 - as above

    if to is not None:
        place = _pushed(artifact, to, push=push, force=force)
        return deployment.pinned(content, place, stated_digest(artifact, place))
    if uri.startswith("file://"):
        raise CommandError(f"{uri}: a cluster has no such file: push it with --to s3://BUCKET/PATH", code=2)
    deployment.require_fits(artifact, str(path))
    name, _, key = uri.partition("://")[2].partition("/")
    made = deployment.config_map(name, name, _content(artifact), immutable=False)
    plan.manifests.append(deployment.beside(made, content))
    # A whole ConfigMap is a folder to the runtime, also with one file in it.
    digest = artifact.digest if key else _tree(artifact)
    return deployment.pinned(content, uri, digest)


def _tree(artifact: LocalArtifact) -> str:
    from pillion.storage import tree_digest  # noqa: PLC0415 - keeps --help quick

    return tree_digest((file.path, file.size, file.sha256) for file in artifact.files)


def _printed(manifests: Sequence[Manifest], namespace: str | None, output: str) -> str:
    import yaml  # noqa: PLC0415 - keeps --help quick

    placed: list[Manifest] = []
    for manifest in manifests:
        metadata = manifest.get("metadata")
        known = dict(metadata) if isinstance(metadata, dict) else {}
        scope: Manifest = {"namespace": namespace} if namespace is not None and "namespace" not in known else {}
        placed.append(manifest | {"metadata": known | scope})
    if output == "yaml":
        return yaml.safe_dump_all(placed, sort_keys=False, width=120)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": placed}, indent=2) + "\n"


def _apply(kubectl: Kubectl, manifests: Sequence[Manifest], *, scope: str | None, force: bool) -> None:
    from pillion.cli.cluster.refusals import conflict  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.deployment import MANAGER  # noqa: PLC0415 - as above

    # Server-side: kubectl's own way would keep a copy of the model in an annotation, which is limited to 256 KiB.
    flags = ["--server-side", f"--field-manager={MANAGER}", *(["--force-conflicts"] if force else [])]
    # The context's namespace is left to kubectl: said aloud, it would refuse manifests that name another.
    flags += [f"--namespace={scope}"] if scope is not None else []
    text = _printed(manifests, None, "json")
    done = kubectl.run_unscoped("apply", *flags, "--filename=-", stdin=text, seconds=120)
    sys.stderr.write(done.stdout)
    if done.code == 0:
        return
    if taken := conflict(done.stderr):
        raise CommandError(taken)
    raise kubectl.failure(done, "kubectl apply")


def _wait(kubectl: Kubectl, services: Sequence[tuple[str, str]], timeout: float) -> None:
    """Wait for each service, telling each new state once.

    Raises:
        CommandError: one failed, or did not arrive in time; with what `pillion status` says of it.
    """
    from pillion.cli.cluster.objects import text_at  # noqa: PLC0415 - keeps --help quick

    began = time.monotonic()
    for name, namespace in services:
        there = replace(kubectl, namespace=namespace or kubectl.namespace)
        _wait_for(there, name, began + timeout, timeout)
        url = text_at(there.inference_service(name), "status", "url")
        typer.echo(f"{name} is ready after {time.monotonic() - began:.0f} s: {url}")


def _wait_for(kubectl: Kubectl, name: str, deadline: float, timeout: float) -> None:
    from pillion.cli.cluster.rollout import Stage, arrival  # noqa: PLC0415 - keeps --help quick

    told = ""
    trouble: tuple[str, float] | None = None
    while True:
        now = arrival(kubectl.inference_service(name))
        if now.stage is Stage.ARRIVED:
            return
        if now.message != told:
            told = now.message
            sys.stderr.write(f"{name}: {now.reason}: {told}\n")
        if now.stage is not Stage.IN_TROUBLE:
            trouble = None
        elif trouble is None or trouble[0] != now.reason:
            trouble = (now.reason, time.monotonic())
        lasting = trouble is not None and time.monotonic() - trouble[1] >= _TROUBLE_SECONDS
        late = time.monotonic() > deadline
        if now.stage is Stage.STALLED or lasting or late:
            from pillion.cli.cluster.drawing import drawn  # noqa: PLC0415 - as above
            from pillion.cli.status import gather  # noqa: PLC0415 - as above

            typer.echo(f"\n{drawn(gather(kubectl, name))}\n", err=True)
            why = f"is not ready after {timeout:g} s" if late else "does not become ready"
            raise CommandError(f"{name} {why}: {now.reason}: {now.message}")
        time.sleep(_POLL_SECONDS)
