"""KServe's InferenceService, `serving.kserve.io/v1beta1`, as ours: what differs, and what has no effect here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from pillion.resources.component import FORMAT_SHORTHANDS
from pillion.resources.conventions import unhonoured_annotations
from pillion.resources.conversion.edits import Put, Remove, Rename
from pillion.resources.conversion.remarks import Converted, Remark, Subject
from pillion.resources.conversion.remedies import remedy_for
from pillion.resources.core import ContainerFields, SmallContainerFields
from pillion.resources.honoured import unhonoured_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.conversion.edits import Edit
    from pillion.resources.inferenceservice import InferenceService
    from pillion.resources.rules import FieldPath

__all__ = ["BUILT_IN_FORMATS", "BUILT_IN_PRIORITY", "MODEL_CLASS", "RuntimeFacts", "no_effect", "serving_edits"]

#: The formats of the ClusterServingRuntimes that come with the operator; a test holds the two together.
BUILT_IN_FORMATS: Final[Mapping[str, str]] = {
    **{name: f"pillion-{name}" for name in ("sklearn", "onnx", "xgboost", "lightgbm", "mlflow", "python")},
    **dict.fromkeys(("torch", "pytorch"), "pillion-torch"),
    **dict.fromkeys(("huggingface", "transformers", "sentence-transformers", "embeddings"), "pillion-huggingface"),
}
BUILT_IN_PRIORITY: Final = 1

#: The runtimes that KServe brings, by format, and the one that serves several.
_KSERVE_RUNTIMES: Final = {
    "sklearn": "kserve-sklearnserver",
    "xgboost": "kserve-xgbserver",
    "lightgbm": "kserve-lgbserver",
    "pmml": "kserve-pmmlserver",
    "paddle": "kserve-paddleserver",
    "tensorflow": "kserve-tensorflow-serving",
    "pytorch": "kserve-torchserve",
    "triton": "kserve-tritonserver",
    "onnx": "kserve-tritonserver",
    "huggingface": "kserve-huggingfaceserver",
    "mlflow": "kserve-mlserver",
}
_MLSERVER: Final = "kserve-mlserver"
#: Formats whose servers in KServe are told by arguments what to serve.
_OTHER_SERVERS: Final = frozenset({"pytorch", "huggingface"})
MODEL_CLASS: Final = "modelClass"
#: What KServe's webhook writes into the label that MLServer's runtime refers to.
_MODEL_CLASSES: Final = {
    "sklearn": "mlserver_sklearn.SKLearnModel",
    "xgboost": "mlserver_xgboost.XGBoostModel",
    "lightgbm": "mlserver_lightgbm.LightGBMModel",
    "mlflow": "mlserver_mlflow.MLflowRuntime",
}
_MODELS_FOLDER: Final = "/mnt/models"
_PICKLES: Final = (".joblib", ".pkl", ".pickle")
_SAFE: Final = (".skops", ".onnx")
_CONTAINER_ONLY: Final = frozenset((f.alias or name) for name, f in ContainerFields.model_fields.items()) - frozenset(
    (f.alias or name) for name, f in SmallContainerFields.model_fields.items()
)


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """What is known of the serving runtimes in the same files.

    Attributes:
        formats: the formats that each serves, by the runtime's name.
        labels: the labels of the InferenceService that each refers to.
    """

    formats: Mapping[str, frozenset[str]] = field(default_factory=dict)
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def serves(self, model_format: str) -> bool:
        """Whether one of them serves the format."""
        return any(model_format in formats for formats in self.formats.values())


@dataclass(frozen=True, slots=True)
class _Model:
    """The model of a predictor, wherever it stands."""

    path: FieldPath
    content: JsonObject
    format: str

    @property
    def address(self) -> str:
        return ".".join(str(part) for part in self.path)

    def text(self, key: str) -> str:
        value = self.content.get(key)
        return value if isinstance(value, str) else ""


def serving_edits(content: JsonObject, runtimes: RuntimeFacts) -> Converted:
    """Return what has to change for the object to be served here as it was there."""
    model = _model_of(content)
    if model is None:
        return Converted((), tuple(_container_remarks(content)))
    edits: list[Edit] = []
    remarks: list[Remark] = []
    for part in (_spelled_out(model), _runtime(content, model, runtimes), _pickle(model)):
        edits += part.edits
        remarks += part.remarks
    return Converted(edits, remarks)


def no_effect(service: InferenceService) -> Iterator[Remark]:
    """Yield what is set and not acted on, as the operator's condition FieldsHonoured will say it."""
    name = service.metadata.name or ""
    for found in (*unhonoured_fields(service.spec), *unhonoured_annotations(service.metadata)):
        reason = found.reason or "nothing acts on it in this release"
        yield Remark(Subject.NO_EFFECT, reason, remedy_for(found.field, name), found.field)


def _model_of(content: JsonObject) -> _Model | None:
    spec = content.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    if not isinstance(predictor, dict):
        return None
    for key in ("model", *FORMAT_SHORTHANDS):
        found = predictor.get(key)
        if isinstance(found, dict):
            given = found.get("modelFormat")
            named = str(given.get("name") or "") if isinstance(given, dict) else ""
            return _Model(("spec", "predictor", key), found, named.lower() if key == "model" else key)
    return None


def _spelled_out(model: _Model) -> Converted:
    """A shorthand with a field that only a whole container has becomes `model` with that format."""
    more = sorted(_CONTAINER_ONLY & model.content.keys())
    if model.path[-1] == "model" or not more:
        return Converted()
    edits = (Put((*model.path, "modelFormat"), {"name": model.format}), Rename(model.path, "model"))
    text = f"is written as predictor.model with the format {model.format!r}, because a shorthand has no {more[0]}"
    return Converted(edits, (Remark(Subject.CHANGED, text, field=model.address),))


def _runtime(content: JsonObject, model: _Model, runtimes: RuntimeFacts) -> Converted:
    named, version = model.text("runtime"), model.text("runtimeVersion")
    known = named in runtimes.formats
    edits: list[Edit] = []
    remarks: list[Remark] = []
    theirs = {*_KSERVE_RUNTIMES.values(), _MLSERVER}
    if named in theirs and not known and model.format in BUILT_IN_FORMATS and named != _MLSERVER:
        edits.append(Remove((*model.path, "runtime")))
        text = f"{named!r} is KServe's; the runtime that Pillion brings for {model.format} is chosen by the format"
        remarks.append(Remark(Subject.REMOVED, text, field=f"{model.address}.runtime"))
        named = ""
    elif named and not known:
        text = f"the serving runtime {named!r} must be there as Pillion's, and is not in these files"
        remarks.append(Remark(Subject.HINT, text, _fetch(named), f"{model.address}.runtime"))
    elif not named and model.format and model.format not in BUILT_IN_FORMATS and not runtimes.serves(model.format):
        text = f"no runtime that comes with Pillion serves {model.format!r}"
        remarks.append(Remark(Subject.HINT, text, _fetch(_KSERVE_RUNTIMES.get(model.format, "NAME")), model.address))
    if version and not named and not runtimes.serves(model.format):
        edits.append(Remove((*model.path, "runtimeVersion")))
        text = f"{version!r} is the tag of KServe's image; Pillion's images have tags of their own"
        remarks.append(Remark(Subject.REMOVED, text, field=f"{model.address}.runtimeVersion"))
    heavy = model.format in _OTHER_SERVERS and not named and not runtimes.serves(model.format)
    if heavy and model.content.get("args"):
        edits.append(Remove((*model.path, "args")))
        text = "they are for KServe's server of this format, and Pillion's has others"
        remarks.append(Remark(Subject.REMOVED, text, "name the model's folder in storageUri", f"{model.address}.args"))
    label = _model_class(content, model, named, runtimes)
    return Converted([*edits, *label.edits], [*remarks, *label.remarks])


def _fetch(name: str) -> str:
    return (
        "convert KServe's too: kubectl get clusterservingruntimes.serving.kserve.io "
        f"{name} -o yaml | pillion convert -f - | kubectl apply -f -"
    )


def _model_class(content: JsonObject, model: _Model, named: str, runtimes: RuntimeFacts) -> Converted:
    """KServe's webhook sets a label that MLServer's runtime reads; here no webhook writes into objects."""
    wanted = named == _MLSERVER or MODEL_CLASS in runtimes.labels.get(named, frozenset())
    if not named:
        wanted = any(
            MODEL_CLASS in runtimes.labels.get(name, frozenset()) and model.format in formats
            for name, formats in runtimes.formats.items()
        )
    value = _MODEL_CLASSES.get(model.format)
    if not wanted or value is None:
        return Converted()
    label, environment = _label(content, value), _mlserver_environment(content, model)
    return Converted([*label.edits, *environment.edits], [*label.remarks, *environment.remarks])


def _label(content: JsonObject, value: str) -> Converted:
    labels = _metadata(content).get("labels")
    if isinstance(labels, dict) and MODEL_CLASS in labels:
        return Converted()
    edit = (
        Put(("metadata", "labels", MODEL_CLASS), value)
        if isinstance(labels, dict)
        else Put(("metadata", "labels"), {MODEL_CLASS: value})
    )
    text = f"the label {MODEL_CLASS}: {value} is added, which KServe's webhook sets for MLServer"
    return Converted((edit,), (Remark(Subject.CHANGED, text, field="metadata.labels"),))


def _mlserver_environment(content: JsonObject, model: _Model) -> Converted:
    """The two variables by which MLServer finds a model that has no settings file of its own."""
    given = model.content.get("env")
    known: list[JsonValue] = list(given) if isinstance(given, list) else []
    names = {variable.get("name") for variable in known if isinstance(variable, dict)}
    wanted = {"MLSERVER_MODEL_NAME": str(_metadata(content).get("name") or ""), "MLSERVER_MODEL_URI": _MODELS_FOLDER}
    more: list[JsonValue] = [{"name": name, "value": value} for name, value in wanted.items() if name not in names]
    if not more or not (model.text("storageUri") or model.content.get("storage")):
        return Converted()
    added = " and ".join(str(variable["name"]) for variable in more if isinstance(variable, dict))
    text = f"{added} are added, which KServe's webhook sets for MLServer"
    remark = Remark(Subject.CHANGED, text, field=f"{model.address}.env")
    return Converted((Put((*model.path, "env"), [*known, *more]),), (remark,))


def _metadata(content: JsonObject) -> JsonObject:
    return cast("JsonObject", content.get("metadata")) if isinstance(content.get("metadata"), dict) else {}


def _pickle(model: _Model) -> Converted:
    storage = model.content.get("storage")
    path = str(storage.get("path") or "") if isinstance(storage, dict) else ""
    place = (model.text("storageUri") or path).rstrip("/").lower()
    doubtful = place.endswith(_PICKLES) or (model.format == "sklearn" and not place.endswith(_SAFE))
    if not place or not doubtful or model.content.get("allowPickle") is not None:
        return Converted()
    text = "joblib and pickle files can run any code while they are loaded, and are refused by default"
    remedy = "if this is one and you trust it, add beside its place the line  # allowPickle: true"
    return Converted((), (Remark(Subject.HINT, text, remedy, model.address),))


def _container_remarks(content: JsonObject) -> Iterator[Remark]:
    """KServe fetches files for a container with the variable STORAGE_URI."""
    spec = content.get("spec")
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    containers = predictor.get("containers") if isinstance(predictor, dict) else None
    for index, container in enumerate(containers if isinstance(containers, list) else []):
        variables = container.get("env") if isinstance(container, dict) else None
        for number, variable in enumerate(variables if isinstance(variables, list) else []):
            if isinstance(variable, dict) and variable.get("name") == "STORAGE_URI":
                yield Remark(
                    Subject.NO_EFFECT,
                    "files are not fetched for containers of one's own",
                    "have the container fetch them, mount the claim with volumes and volumeMounts, or make a "
                    "ServingRuntime of the container and name the model under predictor.model",
                    f"spec.predictor.containers[{index}].env[{number}]",
                )
