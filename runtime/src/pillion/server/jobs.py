"""Jobs of a running server: opened where there is something to take up, made when first needed, stopped in time.

A server whose folder was named, or has a store already, opens it before it answers anything, and does not start where
that cannot be trusted. One with a default folder that is not there yet makes it with the first job. A database that
does not answer is no reason to answer no predictions: jobs are refused, and it is asked again, until it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.dataplane.plane import DataPlane
    from pillion.jobs.engine import JobEngine
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.states import Job, JobKind
    from pillion.jobs.store import JobStore
    from pillion.jobs.training import TrainingDesk, TrainingRoute
    from pillion.jobs.training_keeper import TrainingKeeper
    from pillion.management.deployments import Deployments
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredModel
    from pillion.server.cluster_trainings import ClusterTrainings
    from pillion.server.settings import JobsSettings

__all__ = ["ServerJobs"]

_log: Final = logging.getLogger(__name__)
_AGAIN_SECONDS: Final = 5.0
"""Until a database that did not answer is asked again."""
_IN_A_CLUSTER: Final = "in a cluster, spec.predictor.jobs.enabled makes trainings TrainingJob objects"
_NO_TRAININGS: Final = (
    "trainings are not kept in a database (jobs.database), which several servers share: their files are one server's"
)


class ServerJobs:
    """See :class:`~pillion.transport.job_access.JobAccess`. Event loop's thread only.

    Args:
        settings: the section of the settings.
        plane: what answers tasks, and knows the classes.
        models: the folder of ``models.store``, which trainings end in, too; empty where there is none.
        deployments: what serves the version that a training made.
        registry: takes the metrics, which are there as soon as there can be jobs.
    """

    def __init__(
        self,
        settings: JobsSettings,
        plane: DataPlane,
        models: str,
        deployments: Callable[[], Deployments],
        registry: Registry,
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._models = models
        self._deployments = deployments
        self._engine: JobEngine | None = None
        self._desk: TrainingDesk | None = None
        self._cluster: ClusterTrainings | None = None
        self._begun = False
        self._reaching: asyncio.Task[None] | None = None
        self.predictions = settings.predictions_enabled
        self.trainings = settings.trainings_enabled
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics of jobs."""
        engine = self._engine
        if engine is not None:
            yield from engine.metrics.families(
                engine.totals, stored=engine.stored, errors=engine.access.errors, ready=not engine.access.trouble
            )

    def status(self) -> Mapping[str, object]:
        """Whether jobs can be kept, and why not; empty where there is no place for them."""
        engine = self._engine
        if engine is None:
            return {}
        return {"jobs": {"ready": not engine.access.trouble, "reason": engine.access.trouble}}

    async def open(self) -> None:
        """Take up what a former server left.

        Raises:
            StartError: the store is held by another server, or cannot be trusted; trainings are to be objects of a
                cluster, and this is no pod.
        """
        settings = self._settings
        if self.keeps_apart and self.trainings:
            self._in_cluster()
        if not (settings.folder or settings.database) or not (self.predictions or self.trainings):
            return
        named = not settings.make_when_needed or settings.database is not None
        if not named and not (Path(settings.folder) / "jobs.sqlite").exists():
            return
        from pillion.jobs.store import StoreFullError, StoreUnreachableError  # noqa: PLC0415 - only servers that have jobs

        try:
            await self._opened().open()
        except PillionError as error:
            why = error.__cause__
            if not isinstance(why, StoreFullError | StoreUnreachableError):
                raise StartError(ExitCode.USAGE, f"jobs.{self._place}: {why}") from why
            _log.error("jobs.%s: %s; jobs are refused until it can be used", self._place, why)
            self._reaching = asyncio.create_task(self._reach())

    async def _reach(self) -> None:
        """Ask a store that could not be used until it can, so that what waits in it is taken up."""
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            with contextlib.suppress(PillionError):  # said in the log
                await self._opened().open()
                _log.warning("jobs.%s: it can be used, jobs are taken again", self._place)
                return

    @property
    def _place(self) -> str:
        return "folder" if self._settings.database is None else "database"

    def begin(self) -> None:
        """Models are loaded: jobs may run."""
        self._begun = True
        if self._engine is not None:
            self._engine.begin()

    async def stop(self, grace: float) -> None:
        """End what runs within ``grace`` seconds, or put it back into the queue."""
        if self._reaching is not None:
            self._reaching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaching
        if self._cluster is not None:
            await self._cluster.stop()
        if self._engine is not None:
            await self._engine.stop(grace)

    def engine(self, kind: JobKind | None = None) -> JobEngine:
        """Who takes jobs of that kind, or of any.

        Raises:
            PillionError: ``NOT_READY``: there is no place to keep them.
        """
        if kind == "training" and self._settings.database is not None:
            raise PillionError(
                ErrorCode.NOT_READY,
                _NO_TRAININGS,
                field="jobs.database",
                remedy=f"train on a server with jobs.folder; {_IN_A_CLUSTER}",
            )
        if kind == "training" and not self._settings.folder:
            raise _no_place(f"; {_IN_A_CLUSTER}")
        return self._opened()

    def _opened(self) -> JobEngine:
        if self._engine is None:
            if not (self._settings.folder or self._settings.database):
                raise _no_place()
            self._engine = self._made()
            if self._begun:
                self._engine.begin()
        return self._engine

    @property
    def keeps_apart(self) -> bool:
        """See :class:`~pillion.transport.job_access.JobAccess`."""
        return bool(self._settings.inference_service)

    @property
    def keeps_predictions(self) -> bool:
        """See :class:`~pillion.transport.job_access.JobAccess`."""
        return bool(self._settings.folder or self._settings.database)

    def keeper(self) -> TrainingKeeper:
        """See :class:`~pillion.transport.job_access.JobAccess`."""
        if self.keeps_apart:
            return self._in_cluster()
        from pillion.jobs.states import JobKind  # noqa: PLC0415 - as above
        from pillion.jobs.training_keeper import LocalTrainings  # noqa: PLC0415 - as above

        return LocalTrainings(self.engine(JobKind.TRAINING), self._taker)

    def training(self, name: str) -> TrainingRoute:
        """See :class:`~pillion.transport.job_access.JobAccess`."""
        from pillion.jobs.training import found_training  # noqa: PLC0415 - as above

        return found_training(self.routes(), name, loading=self._plane.awaits_code)

    def _in_cluster(self) -> ClusterTrainings:
        if self._cluster is None:
            from pillion.server.cluster_trainings import ClusterTrainings  # noqa: PLC0415 - only pods of such services

            section = self._settings
            self._cluster = ClusterTrainings(
                section.inference_service,
                training_template(section.training_spec),
                section.follows_trainings,
                self.routes,
                self._plane.awaits_code,
            )
        return self._cluster

    def _taker(self) -> TrainingDesk:
        from pillion.jobs.states import JobKind  # noqa: PLC0415 - as above

        engine = self.engine(JobKind.TRAINING)
        if self._desk is None:
            from pillion.jobs.training import TrainingDesk  # noqa: PLC0415 - as above

            self._desk = TrainingDesk(engine, self.routes, self._deployable, self._plane.awaits_code, self._registrable)
        return self._desk

    def routes(self) -> Sequence[TrainingRoute]:
        """The trainings of the classes that are served now."""
        if not self.trainings:
            return ()
        from pillion.jobs.training import training_routes  # noqa: PLC0415 - as above

        return training_routes(self._plane.definitions())

    def trainer(self, training: str) -> DesiredModel:
        """The served model whose class has a training of that name.

        Raises:
            PillionError: ``NOT_FOUND``.
        """
        from pillion.jobs.training import trainer_of, training_routes  # noqa: PLC0415 - as above

        return trainer_of(training_routes(self._plane.definitions()), training)

    async def _registrable(self, name: str) -> None:
        from pillion.modelstore import check_new  # noqa: PLC0415 - as above

        root = job_settings(self._settings, self._models).models
        await asyncio.to_thread(check_new, root, name, field="model_name")

    def _deployable(self, name: str) -> None:
        self._deployments().check_deployable(name)

    async def _deploy(self, job: Job, version: str) -> None:
        from pillion.management.audit import Who  # noqa: PLC0415 - as above

        who = Who(f"training {job.id}", request_id=job.request_id)
        await self._deployments().deploy_version(job.model, version, who)

    def _made(self) -> JobEngine:
        from pillion.jobs.engine import JobEngine  # noqa: PLC0415 - as above
        from pillion.jobs.predictions import PredictionRunner  # noqa: PLC0415 - as above
        from pillion.jobs.states import JobKind  # noqa: PLC0415 - as above
        from pillion.jobs.training_runner import TrainingRunner  # noqa: PLC0415 - as above

        section = self._settings
        settings = job_settings(section, self._models)
        predictions = PredictionRunner(
            self._plane, settings.prediction_seconds, settings.max_result_bytes, time.monotonic
        )
        if section.database is not None:
            _check_psycopg()
            return JobEngine(settings, functools.partial(_shared, section), {JobKind.PREDICTION: predictions})
        trainings = TrainingRunner(settings, self._plane.definitions, self._deploy)
        own = functools.partial(_own, Path(section.folder).expanduser().absolute())
        return JobEngine(settings, own, {JobKind.PREDICTION: predictions, JobKind.TRAINING: trainings})


def _no_place(more: str = "") -> PillionError:
    return PillionError(
        ErrorCode.NOT_READY,
        "this server has no folder to keep jobs in",
        field="jobs.folder",
        remedy=f"name one: --data-dir PATH, or PILLION_JOBS__FOLDER{more}",
    )


def _own(folder: Path) -> JobStore:
    from pillion.jobs.sqlite_store import SqliteJobStore  # noqa: PLC0415 - as above

    return SqliteJobStore(folder)


def _shared(section: JobsSettings) -> JobStore:
    from pillion.jobs.postgres_store import PostgresJobStore  # noqa: PLC0415 - only servers with such a database

    return PostgresJobStore(section.database or "", section.database_schema, section.lease_seconds)


def training_template(text: str) -> dict[str, Any]:
    """The spec that all trainings of a service have.

    Raises:
        StartError: it is no JSON object.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StartError(ExitCode.USAGE, f"jobs.training_spec is no JSON object: {error}") from None


def _check_psycopg() -> None:
    if importlib.util.find_spec("psycopg") is None:
        raise StartError(ExitCode.USAGE, "jobs.database needs psycopg: pip install 'pillion[serve,postgres]'")


def job_settings(section: JobsSettings, models: str = "") -> JobSettings:
    """The section as the engine takes it; ``models`` is the folder of ``models.store``."""
    from pillion.jobs.settings import JobSettings  # noqa: PLC0415 - only servers that have jobs

    folder = Path(section.folder).expanduser().absolute()
    return JobSettings(
        folder=None if section.database is not None else folder,
        models=Path(models).expanduser().absolute() if models else folder / "models",
        roots=tuple(Path(root).expanduser().absolute() for root in section.roots),
        max_queued=section.max_queued,
        max_attempts=section.max_attempts,
        predictions=section.predictions,
        trainings=section.trainings,
        prediction_seconds=section.prediction_seconds,
        keep_seconds=section.keep_seconds,
        keep_jobs=section.keep_jobs,
        inline_bytes=section.inline_bytes,
        max_result_bytes=section.max_result_bytes,
        max_stored_bytes=section.max_stored_bytes,
        cancel_grace_seconds=section.cancel_grace_seconds,
        max_memory_bytes=section.max_memory_bytes,
        max_cpu_seconds=section.max_cpu_seconds,
        max_log_bytes=section.max_log_bytes,
    )
