"""From what a user names to a runtime.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from pillion.cli.failures import CommandError
from pillion.cli.local import (
    Consent,
    Source,
    cluster_only,
    manifest_sources,
    named_source,
    render_runtime_file,
    resolve,
)
from pillion.cli.targets import from_manifest, from_targets, mappings
from pillion.resources import InferenceService, load_manifests
from pillion.runtimefile import Code, ExecutionSettings

EXAMPLE = Path(__file__).parents[3] / "examples" / "iris" / "inferenceservice.yaml"


def service(predictor: str) -> InferenceService:
    text = (
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        f"spec: {{predictor: {predictor}}}\n"
    )
    resource = load_manifests(text)[0].resource
    assert isinstance(resource, InferenceService)
    return resource


@pytest.mark.parametrize(
    ("text", "name", "uri"),
    [
        ("iris.skops", "iris", "iris.skops"),
        ("/models/iris/", "iris", "/models/iris/"),
        ("churn=./x.onnx", "churn", "./x.onnx"),
        ("iris=s3://bucket/a=b/iris.skops", "iris", "s3://bucket/a=b/iris.skops"),
        ("s3://bucket/k=v/iris.skops", "iris", "s3://bucket/k=v/iris.skops"),
        ("my model.joblib", "my-model", "my model.joblib"),
    ],
)
def test_a_target_is_a_file_or_name_and_uri(text: str, name: str, uri: str) -> None:
    source = named_source(text, Consent())
    assert (name, uri) == (source.name, source.uri)


def test_what_gives_no_name_asks_for_one() -> None:
    with pytest.raises(CommandError, match="write NAME="):
        named_source("s3://bucket/..", Consent())


@pytest.mark.parametrize(
    ("text", "name", "module", "class_name"),
    [
        ("service.py:TextMood", "text-mood", "/here/service.py", "TextMood"),
        ("my_service.py", "my-service", "/here/my_service.py", ""),
        ("/code/service.py:Mood", "mood", "/code/service.py", "Mood"),
        ("feeling=service.py:Mood", "feeling", "/here/service.py", "Mood"),
        ("pkg.module:Mood", "mood", "pkg.module", "Mood"),
    ],
)
def test_a_target_may_be_a_class(
    text: str, name: str, module: str, class_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/here"))
    source = named_source(text, Consent())
    folder = str(Path(module).parent) if module.endswith(".py") else "/here"
    assert (name, "") == (source.name, source.uri)
    assert Code(module=module, class_name=class_name, folder=folder) == source.code


def test_addresses_are_not_taken_for_classes() -> None:
    for text in ("s3://bucket/x.py/model", "iris.skops", "iris=configmap://iris"):
        assert named_source(text, Consent()).code is None


@pytest.mark.parametrize(
    ("targets", "options", "sentence"),
    [
        (["/nowhere/service.py:Mood"], {}, "/nowhere/service.py: no such file"),
        (["a:A", "b:B"], {"artifact": "x"}, "--artifact is what a class loads"),
        (["a:Mood", "b:Mood"], {}, "two models are called mood"),
    ],
)
def test_options_of_classes_need_a_class(targets: list[str], options: dict[str, str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        from_targets(targets, Consent(), mapped={}, **options)


def test_a_manifest_gives_its_model_and_options() -> None:
    given = service('{sklearn: {storageUri: "s3://a/b", allowPickle: true}, timeout: 7, containerConcurrency: 3}')
    source = manifest_sources(given, Consent())[0]
    assert ("iris", "s3://a/b", "sklearn", True) == (source.name, source.uri, source.format, source.allow_pickle)
    assert (3, 7) == (source.execution.max_in_flight, source.execution.timeout_seconds)


def test_a_manifest_says_where_calls_run() -> None:
    execution = (
        "{executor: process, processes: 2, affinity: spread, accelerate: onnx, idempotent: false, cpus: '0-3;4',"
        " maxCallsPerWorker: 9, maxRssPerWorker: 2Gi}"
    )
    given = service(f'{{sklearn: {{storageUri: "s3://a/b"}}, execution: {execution}}}')
    assert () == cluster_only(given)
    expected = ExecutionSettings(
        executor="process", processes=2, affinity="spread", accelerate="onnx", idempotent=False, cpus="0-3;4",
        max_calls_per_worker=9, max_rss_per_worker=2 << 30,
    )  # fmt: skip
    assert expected == manifest_sources(given, Consent())[0].execution


def test_types_are_trusted_by_the_manifest_and_by_whoever_serves_it() -> None:
    given = service('{sklearn: {storageUri: "s3://a/b", trustedTypes: [scoring.Clip, scoring.Scale]}}')
    source = manifest_sources(given, Consent(trusted_types=("own.Type", "scoring.Clip")))[0]
    assert ("own.Type", "scoring.Clip", "scoring.Scale") == source.trusted_types
    rendered = render_runtime_file([source], {"s3://a/b": Path("/cache")})
    assert source.trusted_types == rendered.models[0].trusted_types


def test_containers_need_a_cluster() -> None:
    with pytest.raises(CommandError, match="need a cluster"):
        manifest_sources(service('{containers: [{name: runtime, image: "x"}]}'), Consent())


def test_fields_without_meaning_on_one_machine_are_named() -> None:
    given = service('{sklearn: {storageUri: "s3://a/b"}, minReplicas: 2, tls: {secretName: x}, timeout: 7}')
    assert ("spec.predictor.minReplicas", "spec.predictor.tls") == cluster_only(given)
    assert () == cluster_only(service('{sklearn: {storageUri: "s3://a/b"}}'))
    asking = service('{sklearn: {storageUri: "s3://a/b"}}, auth: {serviceAccount: {}}')
    assert ("spec.auth",) == cluster_only(asking)


def test_a_configmap_is_the_folder_or_the_one_file_of_its_name_beside_the_manifest(tmp_path: Path) -> None:
    file = tmp_path / "iris.skops"
    file.touch()
    (tmp_path / "iris.yaml").touch()
    assert file == resolve("configmap://iris", beside=tmp_path, mapped={})
    assert file == resolve("configmap://iris/iris.skops", beside=tmp_path, mapped={})
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris" / "m.onnx").touch()
    assert tmp_path / "iris" == resolve("configmap://iris", beside=tmp_path, mapped={})
    assert tmp_path / "iris" / "m.onnx" == resolve("pvc://iris/m.onnx", beside=tmp_path, mapped={})


def test_what_is_not_there_says_where_it_was_looked_for_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--map configmap://iris=PATH") as failure:
        resolve("configmap://iris", beside=tmp_path, mapped={})
    assert str(tmp_path) in str(failure.value)
    for name in ("iris.skops", "iris.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(CommandError, match=r"found iris.onnx, iris.skops"):
        resolve("configmap://iris", beside=tmp_path, mapped={})


def test_a_mapping_wins_and_extends_to_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "k").touch()
    mapped = mappings([f"configmap://iris={tmp_path}"])
    assert tmp_path / "k" == resolve("configmap://iris/k", beside=Path("/"), mapped=mapped)
    with pytest.raises(CommandError, match="write it as"):
        mappings(["iris=x"])


def test_uris_of_stores_are_left_to_be_fetched(tmp_path: Path) -> None:
    assert resolve("s3://bucket/key", beside=tmp_path, mapped={}) is None
    with pytest.raises(CommandError, match="no such file"):
        resolve("none.skops", beside=tmp_path, mapped={})


def test_the_rendered_file_has_the_paths_and_no_secrets_of_uris() -> None:
    uri = "https://user:hunter2@host/iris.skops"
    rendered = render_runtime_file([Source("iris", uri)], {uri: Path("/cache/iris.skops")})
    assert "/cache/iris.skops" == rendered.models[0].path
    assert "hunter2" not in rendered.models[0].uri


def test_the_example_is_resolved_beside_itself(tmp_path: Path) -> None:
    manifest = tmp_path / EXAMPLE.name
    manifest.write_text(EXAMPLE.read_text())
    (tmp_path / "iris.skops").touch()
    rendered, notes = from_manifest(manifest, Consent(), mapped={})
    assert (str(tmp_path / "iris.skops"), "sklearn") == (rendered.models[0].path, rendered.models[0].format)
    assert [] == notes


@pytest.mark.parametrize(
    "uri", ["s3://models/iris", "oci://registry.example/iris:1", "models:/iris/3", "runs:/0a/model"]
)
def test_what_is_elsewhere_has_no_path_here(tmp_path: Path, uri: str) -> None:
    assert None is resolve(uri, beside=tmp_path, mapped={})
