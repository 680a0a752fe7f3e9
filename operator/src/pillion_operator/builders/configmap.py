"""The ConfigMap that holds runtime.yaml."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from pillion.execution_settings import execution_of
from pillion.policy import ConsentPolicy
from pillion.runtimefile import PYTHON, DesiredModel, RuntimeFile, dump, load
from pillion_operator.builders.applications import applications, http_settings
from pillion_operator.builders.auth import auth_settings
from pillion_operator.builders.graph import graph_models
from pillion_operator.builders.logger import logger_settings
from pillion_operator.builders.service_trainings import training_settings
from pillion_operator.builders.storage import MODELS_PATH, model_sources
from pillion_operator.builders.tls import tls_settings
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.names import CONFIG_HASH_ANNOTATION, runtime_config_name

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["CONFIG_FILE", "config_annotations", "config_map", "runtime_file"]

CONFIG_FILE: Final = "runtime.yaml"


def runtime_file(context: BuildContext) -> str:
    """Return the text of runtime.yaml.

    Raises:
        PlanError: the manifest's applications cannot be served, or not where it says.
    """
    file = RuntimeFile(
        settings=_settings(context),
        models=(*_models(context), *graph_models(context)),
        applications=applications(context),
    )
    return dump(file)


def config_map(context: BuildContext) -> JsonObject:
    """Return the ConfigMap."""
    name = runtime_config_name(context.name, context.component)
    return context.manifest(CONFIG_MAP, name, {"data": {CONFIG_FILE: runtime_file(context)}})


def config_annotations(context: BuildContext) -> dict[str, str]:
    """Return the annotation by which a changed runtime.yaml rolls the pods, which never see another one."""
    # As it is read: of a number that is written in two ways pods see one, and no release is to roll them for it.
    file = load(runtime_file(context), source=CONFIG_FILE)
    digest = hashlib.sha256(dump(file).encode()).hexdigest()
    return {CONFIG_HASH_ANNOTATION: digest[:16]}


def _settings(context: BuildContext) -> dict[str, JsonValue]:
    predictor = context.predictor
    settings: dict[str, JsonValue] = {
        "drain": {"window_seconds": context.window_seconds, "grace_seconds": max(1, context.longest_request_seconds)}
    }
    if predictor.timeout:
        settings["limits"] = {"deadline_seconds": predictor.timeout}
    if predictor.tls:
        settings["tls"] = tls_settings(predictor.tls)
    auth = auth_settings(context.service)
    if auth:
        settings["auth"] = auth
    if predictor.metrics and predictor.metrics.on_data_port:
        settings["metrics"] = {"on_data_port": True}
    jobs = training_settings(context)
    if jobs:
        settings["jobs"] = jobs
    http = http_settings(context)
    if http:
        settings["http"] = http
    logger = logger_settings(context)
    if logger:
        settings["logger"] = logger
    return settings


def _models(context: BuildContext) -> tuple[DesiredModel, ...]:
    model, rules = context.model, context.rules
    if model is None:
        return ()
    python = model.model_format.name == PYTHON
    source = next(iter(model_sources(context)), None)
    return (
        DesiredModel(
            name=context.name,
            path=source.path if source else MODELS_PATH,
            format=model.model_format.name,
            format_version=model.model_format.version,
            # As it may be shown: the runtime reports it at /status.
            uri=str(source.uri) if source else "",
            digest=source.digest if source else "",
            allow_pickle=rules.pickle.permits(opted_in=bool(model.allow_pickle)),
            pickle_policy=rules.pickle.policy,
            # Only where it means something, so that runtimes of earlier releases can read the file.
            trust_code=python and rules.code.permits(opted_in=bool(model.trust_code)),
            code_policy=rules.code.policy if python else ConsentPolicy.PER_OBJECT,
            trusted_types=tuple(dict.fromkeys([*context.settings.trusted_types, *(model.trusted_types or ())])),
            execution=execution_of(context.predictor),
        ),
    )
