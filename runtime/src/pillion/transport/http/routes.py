"""Which route a path is. Pure; the dispatcher calls it once per request, so it splits the path once and looks up."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final, NamedTuple

__all__ = [
    "INFERENCE_ROUTES",
    "JOB_ROUTES",
    "METHODS",
    "OPENAI_ROUTES",
    "TASK_ROUTES",
    "TEXT_ROUTES",
    "Route",
    "Target",
    "resolve",
    "resolve_job",
    "resolve_task",
]


@unique
class Route(Enum):
    """The routes that the dispatcher answers itself; everything else is the fallback app's."""

    ROOT = "/"
    SERVER = "/v2"
    LIVE = "/v2/health/live"
    READY = "/v2/health/ready"
    MODELS = "/v2/models"
    MODEL = "/v2/models/{model}"
    MODEL_READY = "/v2/models/{model}/ready"
    INFER = "/v2/models/{model}/infer"
    CONFIG = "/v2/models/{model}/config"
    STATS = "/v2/models/{model}/stats"
    GENERATE = "/v2/models/{model}/generate"
    GENERATE_STREAM = "/v2/models/{model}/generate_stream"
    INDEX = "/v2/repository/index"
    LOAD = "/v2/repository/models/{model}/load"
    UNLOAD = "/v2/repository/models/{model}/unload"
    V1_MODELS = "/v1/models"
    V1_MODEL = "/v1/models/{model}"
    V1_PREDICT = "/v1/models/{model}:predict"
    V1_EXPLAIN = "/v1/models/{model}:explain"
    INVOCATIONS = "/invocations"
    OPENAI_CHAT = "/openai/v1/chat/completions"
    OPENAI_COMPLETIONS = "/openai/v1/completions"
    OPENAI_EMBEDDINGS = "/openai/v1/embeddings"
    OPENAI_MODELS = "/openai/v1/models"
    OPENAI_MODEL = "/openai/v1/models/{model}"
    TASK = "/{task}"
    TASK_OF_MODEL = "/{model}/{task}"
    TASK_ENVELOPE = "/api/v1/task/{task}"
    JOB = "/api/v1/task/{task}/job"
    JOB_RESULTS = "/api/v1/task/{task}/job/results"
    JOBS = "/management/jobs"
    TRAIN = "/api/v1/{training}"
    TRAININGS = "/management/trainings"
    TRAINING_METRICS = "/management/trainings/{training}/metrics"
    TRAINING_LOGS = "/management/trainings/{training}/logs"
    ROUTES = "/-/routes"
    HEALTHZ = "/-/healthz"
    SHARED_MEMORY = "/v2/{system|cuda}sharedmemory/..."
    UNKNOWN = "/v2/..."


class Target(NamedTuple):
    """A route with what the path named."""

    route: Route
    model: str = ""
    version: str | None = None
    task: str = ""


_GET: Final = ("GET", "HEAD")
_POST: Final = ("POST",)
METHODS: Final[dict[Route, tuple[str, ...]]] = {
    **dict.fromkeys(Route, _GET),
    **dict.fromkeys(
        (
            Route.INFER,
            Route.GENERATE,
            Route.GENERATE_STREAM,
            Route.INDEX,
            Route.LOAD,
            Route.UNLOAD,
            Route.V1_PREDICT,
            Route.V1_EXPLAIN,
            Route.INVOCATIONS,
            Route.OPENAI_CHAT,
            Route.OPENAI_COMPLETIONS,
            Route.OPENAI_EMBEDDINGS,
            Route.TASK,
            Route.TASK_OF_MODEL,
            Route.TASK_ENVELOPE,
            Route.TRAIN,
        ),
        _POST,
    ),
    Route.JOB: ("POST", "GET", "HEAD", "DELETE"),
    Route.TRAININGS: ("GET", "HEAD", "DELETE"),
}

_FIXED: Final = {
    route.value: Target(route)
    for route in (
        Route.ROOT,
        Route.SERVER,
        Route.LIVE,
        Route.READY,
        Route.MODELS,
        Route.INDEX,
        Route.V1_MODELS,
        Route.INVOCATIONS,
        Route.OPENAI_CHAT,
        Route.OPENAI_COMPLETIONS,
        Route.OPENAI_EMBEDDINGS,
        Route.OPENAI_MODELS,
        Route.ROUTES,
        Route.HEALTHZ,
    )
} | {
    # Where the clients of OpenAI look, too. The models of /v1 are those of V1, in a document that is both.
    route.value.removeprefix("/openai"): Target(route)
    for route in (Route.OPENAI_CHAT, Route.OPENAI_COMPLETIONS, Route.OPENAI_EMBEDDINGS)
}
_FIXED["/v2/models/stats"] = Target(Route.STATS)
_VERBS: Final = {
    "infer": Route.INFER,
    "ready": Route.MODEL_READY,
    "config": Route.CONFIG,
    "stats": Route.STATS,
    "generate": Route.GENERATE,
    "generate_stream": Route.GENERATE_STREAM,
}
_V1_VERBS: Final = {"predict": Route.V1_PREDICT, "explain": Route.V1_EXPLAIN}
_UNKNOWN: Final = Target(Route.UNKNOWN)
_SHARED_MEMORY: Final = Target(Route.SHARED_MEMORY)
TASK_ROUTES: Final = frozenset({Route.TASK, Route.TASK_OF_MODEL, Route.TASK_ENVELOPE})
"""Routes whose tail is the user's to name."""
JOB_ROUTES: Final = frozenset(
    {
        Route.JOB,
        Route.JOB_RESULTS,
        Route.JOBS,
        Route.TRAIN,
        Route.TRAININGS,
        Route.TRAINING_METRICS,
        Route.TRAINING_LOGS,
    }
)
"""Routes of jobs: their errors look as those of tasks."""
OPENAI_ROUTES: Final = frozenset(
    {
        Route.OPENAI_CHAT,
        Route.OPENAI_COMPLETIONS,
        Route.OPENAI_EMBEDDINGS,
        Route.OPENAI_MODELS,
        Route.OPENAI_MODEL,
    }
)
"""Routes whose errors have the shape that OpenAI's clients read."""
TEXT_ROUTES: Final = OPENAI_ROUTES | {Route.GENERATE, Route.GENERATE_STREAM}
INFERENCE_ROUTES: Final = TASK_ROUTES | {
    Route.INFER,
    Route.GENERATE,
    Route.GENERATE_STREAM,
    Route.V1_PREDICT,
    Route.V1_EXPLAIN,
    Route.INVOCATIONS,
    Route.OPENAI_CHAT,
    Route.OPENAI_COMPLETIONS,
    Route.OPENAI_EMBEDDINGS,
}
"""Routes that have models compute something."""
_FALLBACKS: Final = frozenset(
    {"", "api", "docs", "health", "management", "metrics", "openai", "openapi.json", "redoc", "v1"}
)
"""First segments of the fallback's routes."""


def resolve(path: str) -> Target | None:
    """The route of a percent-decoded path, or None when it is none of ours.

    A slash at the end makes no difference. Paths below ``/v2/`` are all ours, so that a mistyped one is answered in
    the protocol's error shape.
    """
    parts = path.split("/")
    if len(parts) == 5 and parts[1] == "v2" and parts[2] == "models":
        route = _VERBS.get(parts[4])
        if route is not None and parts[3]:
            return Target(route, parts[3])
    fixed = _FIXED.get(path) or _FIXED.get(path.rstrip("/"))
    if fixed is not None:
        return fixed
    if parts[-1] == "":
        parts.pop()
    if parts[1:2] == ["v2"]:
        return _below_v2(parts[2:])
    if len(parts) == 3 and parts[1] == "invocations":
        return Target(Route.INVOCATIONS, parts[2])
    if len(parts) == 5 and parts[1:4] == ["openai", "v1", "models"]:
        return Target(Route.OPENAI_MODEL, parts[4])
    if len(parts) == 4 and parts[1] == "v1" and parts[2] == "models":
        model, colon, verb = parts[3].rpartition(":")
        if not colon:
            return Target(Route.V1_MODEL, parts[3])
        if verb in _V1_VERBS:
            return Target(_V1_VERBS[verb], model)
    return None


def _below_v2(parts: list[str]) -> Target:
    match parts:
        case ["models", model]:
            return Target(Route.MODEL, model)
        case ["models", model, verb] if verb in _VERBS:
            return Target(_VERBS[verb], model)
        case ["models", model, "versions", version]:
            return Target(Route.MODEL, model, version)
        case ["models", model, "versions", version, verb] if verb in _VERBS:
            return Target(_VERBS[verb], model, version)
        case ["repository", "models", model, "load"]:
            return Target(Route.LOAD, model)
        case ["repository", "models", model, "unload"]:
            return Target(Route.UNLOAD, model)
        case ["systemsharedmemory" | "cudasharedmemory", *_]:
            return _SHARED_MEMORY
        case _:
            return _UNKNOWN


def resolve_task(path: str) -> Target | None:
    """The task that a path may name which is no route of :func:`resolve`. Whether there is one is for others to say."""
    match path.strip("/").split("/"):
        case ["api", "v1", "task", task] if task:
            return Target(Route.TASK_ENVELOPE, task=task)
        case [task] if task not in _FALLBACKS:
            return Target(Route.TASK, task=task)
        case ["info", "models" | "version"]:
            return None
        case [model, task] if model not in _FALLBACKS and task:
            return Target(Route.TASK_OF_MODEL, model, task=task)
        case _:
            return None


def resolve_job(path: str) -> Target | None:
    """The route of jobs that a path is; ``task`` has what it names: a task, a training's route, a training's id."""
    match path.strip("/").split("/"):
        case ["api", "v1", "task", task, "job"] if task:
            return Target(Route.JOB, task=task)
        case ["api", "v1", "task", task, "job", "results"] if task:
            return Target(Route.JOB_RESULTS, task=task)
        case ["api", "v1", training] if training.endswith("Train"):
            return Target(Route.TRAIN, task=training)
        case ["management", "jobs"]:
            return Target(Route.JOBS)
        case ["management", "trainings"]:
            return Target(Route.TRAININGS)
        case ["management", "trainings", training, "metrics"] if training:
            return Target(Route.TRAINING_METRICS, task=training)
        case ["management", "trainings", training, "logs"] if training:
            return Target(Route.TRAINING_LOGS, task=training)
        case _:
            return None
