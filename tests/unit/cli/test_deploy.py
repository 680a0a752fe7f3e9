"""What `pillion deploy` makes of a model or a manifest, before any cluster is asked."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.cli.cluster.rollout import Stage, arrival
from tests.unit.cli.command import pillion

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels


def printed(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = pillion("deploy", *arguments, "--dry-run", cwd=folder)
    assert 0 == done.returncode, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def test_a_pushed_model_needs_no_config_map_and_a_dry_run_pushes_nothing(tmp_path: Path, iris: IrisModels) -> None:
    (tmp_path / "store").mkdir()

    documents = printed(tmp_path, str(iris.skops), "--to", f"file://{tmp_path}/store/")

    digest = hashlib.sha256(iris.skops.read_bytes()).hexdigest()
    model = documents[0]["spec"]["predictor"]["model"]
    assert (f"file://{tmp_path}/store/iris.skops", f"sha256:{digest}") == (model["storageUri"], model["digest"])
    assert (1, []) == (len(documents), list((tmp_path / "store").iterdir()))


def test_an_onnx_model_is_known_by_its_file(tmp_path: Path, iris: IrisModels) -> None:
    documents = printed(tmp_path, str(iris.onnx), "--name", "churn")
    assert ("churn", "onnx") == (
        documents[1]["metadata"]["name"],
        documents[1]["spec"]["predictor"]["model"]["modelFormat"]["name"],
    )


def test_a_pickle_goes_only_where_it_is_allowed_and_the_manifest_says_so(tmp_path: Path, iris: IrisModels) -> None:
    refused = pillion("deploy", str(iris.joblib), "--dry-run")
    assert (2, True) == (refused.returncode, "--allow-pickle" in refused.stderr)
    assert printed(tmp_path, str(iris.joblib), "--allow-pickle")[1]["spec"]["predictor"]["model"]["allowPickle"]


SERVICE = "import pillion\n\nraise SystemExit('it was run')\n"


@pytest.mark.parametrize("named", ["mood", "mood/service.py"])
def test_a_class_goes_to_storage_by_consent_and_the_manifest_says_so(named: str, tmp_path: Path) -> None:
    (tmp_path / "mood").mkdir()
    (tmp_path / "mood" / "service.py").write_text(SERVICE)
    (tmp_path / "mood" / "words.txt").write_text("good bad")

    config_map, service = printed(tmp_path, named, "--name", "mood", "--trust-code")

    model = service["spec"]["predictor"]["model"]
    assert ({"name": "python"}, True) == (model["modelFormat"], model["trustCode"])
    assert model["storageUri"].startswith(f"configmap://{config_map['metadata']['name']}")
    assert model["digest"].startswith("sha256:")
    assert ("service.py" in config_map["binaryData"], "words.txt" in config_map["binaryData"]) == (
        True,
        named == "mood",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mood"], "only from an image"),
        (["mood", "--trust-code", "--image", "registry.example/a/b:c"], "go without --image"),
        (["mood", "--trust-code", "--allow-pickle"], "without --allow-pickle"),
        (["iris.skops", "--trust-code"], "is for a class in Python"),
        (["mood/service.py:Mood", "--trust-code"], "without :Class"),
        (["two", "--trust-code"], "is for a class in Python"),
    ],
)
def test_a_class_without_consent_and_consent_without_a_class_are_refused(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "mood").mkdir()
    (tmp_path / "mood" / "service.py").write_text(SERVICE)
    (tmp_path / "two").mkdir()
    done = pillion("deploy", *arguments, "--dry-run", cwd=tmp_path)
    assert (2, True) == (done.returncode, said in done.stderr), done.stderr


def test_the_other_objects_of_a_manifest_and_a_uri_of_a_store_stay_as_they_are(tmp_path: Path) -> None:
    text = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n---\napiVersion: serving.pillion.dev/v1beta1\n"
        "kind: InferenceService\nmetadata: {name: iris}\nspec: {predictor: {sklearn: {storageUri: 's3://models/iris'}}}\n"
    )
    (tmp_path / "m.yaml").write_text(text)
    assert list(yaml.safe_load_all(text)) == printed(tmp_path, "m.yaml")


def test_a_config_map_that_only_the_cluster_has_is_left_to_it_and_said(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        "spec: {predictor: {sklearn: {storageUri: 'configmap://there'}}}\n"
    )
    done = pillion("deploy", "m.yaml", "--dry-run", cwd=tmp_path)
    assert (0, True) == (done.returncode, "the ConfigMap must be in the cluster already" in done.stderr)
    assert "digest" not in done.stdout


def test_a_whole_config_map_is_pinned_by_the_digest_of_its_files(tmp_path: Path, iris: IrisModels) -> None:
    from pillion.storage import tree_digest

    shutil.copy(iris.skops, tmp_path / "iris.skops")
    (tmp_path / "m.yaml").write_text(
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        "spec: {predictor: {sklearn: {storageUri: 'configmap://iris'}}}\n"
    )
    content = iris.skops.read_bytes()
    wanted = tree_digest([("iris.skops", len(content), hashlib.sha256(content).hexdigest())])
    assert wanted == printed(tmp_path, "m.yaml")[1]["spec"]["predictor"]["sklearn"]["digest"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no inferenceservice.yaml"),
        (("none.skops",), "no such file"),
        (("none.yaml",), "none.yaml: no such file"),
        (("big.onnx",), "--to s3://BUCKET/PATH"),
        (("Big_Model.onnx",), "--name big-model"),
        (("nested",), "cannot be a key of a ConfigMap"),
        (("two.yaml", "--to", "s3://models/x"), "--to"),
        (("big.onnx", "-o", "xml"), "yaml or json"),
    ],
)
def test_what_cannot_be_deployed_says_why(
    arguments: tuple[str, ...], said: str, tmp_path: Path, iris: IrisModels
) -> None:
    (tmp_path / "big.onnx").write_bytes(bytes([8]) * (1 << 21))
    shutil.copy(iris.onnx, tmp_path / "Big_Model.onnx")
    (tmp_path / "nested" / "sub").mkdir(parents=True)
    shutil.copy(iris.skops, tmp_path / "nested" / "model.skops")
    (tmp_path / "nested" / "sub" / "x").touch()
    (tmp_path / "two.yaml").write_text(
        "apiVersion: serving.pillion.dev/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        "spec: {predictor: {sklearn: {storageUri: 's3://models/iris'}}}\n"
    )
    done = pillion("deploy", *arguments, "--dry-run", cwd=tmp_path)
    assert (2, True) == (done.returncode, said in done.stderr), done.stderr


def service(generation: int = 1, **conditions: str) -> dict[str, Any]:
    """An InferenceService with conditions as TYPE="STATUS Reason", said of generation 1."""
    made = [
        {"type": kind, "status": text.split()[0], "reason": text.split()[1], "message": "m", "observedGeneration": 1}
        for kind, text in conditions.items()
    ]
    return {"metadata": {"generation": generation}, "status": {"conditions": made}}


@pytest.mark.parametrize(
    ("given", "stage"),
    [
        (service(), Stage.WAITING),
        (service(2, Ready="True Loaded", Reconciling="False Settled"), Stage.WAITING),
        (service(Ready="True Loaded", Reconciling="True Progressing"), Stage.WAITING),
        (service(Ready="False Starting", Reconciling="True Starting"), Stage.WAITING),
        (service(Ready="False ModelLoadFailed", Reconciling="True ModelLoadFailed"), Stage.IN_TROUBLE),
        (service(Ready="False InvalidSpec", Stalled="True InvalidSpec"), Stage.STALLED),
        (service(Ready="False Stopped", Stopped="True Stopped", Reconciling="False Stopped"), Stage.ARRIVED),
        (service(Ready="True Loaded", Reconciling="False Settled"), Stage.ARRIVED),
    ],
)
def test_a_rollout_has_arrived_when_the_newest_generation_is_ready_and_settled(
    given: dict[str, Any], stage: Stage
) -> None:
    assert stage == arrival(given).stage


def test_a_new_version_that_does_not_load_is_trouble_while_the_old_one_answers() -> None:
    given = service(Ready="True Loaded", Reconciling="True Progressing")
    given["status"]["modelStatus"] = {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "the file is corrupt"},
    }
    found = arrival(given)
    assert (Stage.IN_TROUBLE, "ModelLoadFailed", "the file is corrupt") == (found.stage, found.reason, found.message)


def test_what_a_class_loads_is_of_an_image_and_has_to_be_in_it(tmp_path: Path) -> None:
    alone = pillion("deploy", "net.py:Net", "--artifact", "net.safetensors", cwd=tmp_path)
    assert (2, True) == (
        alone.returncode,
        "--artifact, --platform and --insecure-registry are of --image" in alone.stderr,
    )
    (tmp_path / "net.py").write_text("class Net:\n    pass\n")
    absent = pillion(
        "deploy", "net.py:Net", "--artifact", "net.safetensors", "--image", "localhost:1/n:1", cwd=tmp_path
    )
    said = "--artifact net.safetensors: not among the files that go into the image"
    assert (2, True) == (absent.returncode, said in absent.stderr)
