"""Jobs of a running server: opened where there is something to take up, made when first needed, stopped in time.

A server whose folder was named, or has a store already, opens it before it answers anything, and does not start where
that cannot be trusted. One with a default folder that is not there yet makes it with the first job.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.errors import ErrorCode, PillionError
from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.dataplane.plane import DataPlane
    from pillion.jobs.engine import JobEngine
    from pillion.jobs.settings import JobSettings
    from pillion.jobs.states import Job
    from pillion.jobs.store import JobStore
    from pillion.jobs.training import TrainingDesk, TrainingRoute
    from pillion.management.deployments import Deployments
    from pillion.runtimefile import DesiredModel
    from pillion.server.settings import JobsSettings

__all__ = ["ServerJobs"]


class ServerJobs:
    """See :class:`~pillion.transport.http.job_access.JobAccess`. Event loop's thread only.

    Args:
        settings: the section of the settings.
        plane: what answers tasks, and knows the classes.
        models: the folder of ``models.store``, which trainings end in, too; empty where there is none.
        deployments: what serves the version that a training made.
    """

    def __init__(
        self, settings: JobsSettings, plane: DataPlane, models: str, deployments: Callable[[], Deployments]
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._models = models
        self._deployments = deployments
        self._engine: JobEngine | None = None
        self._desk: TrainingDesk | None = None
        self._begun = False
        self.predictions = settings.predictions_enabled
        self.trainings = settings.trainings_enabled

    async def open(self) -> None:
        """Take up what a former server left.

        Raises:
            StartError: the store is held by another server, or cannot be trusted.
        """
        settings = self._settings
        if not settings.folder or not (self.predictions or self.trainings):
            return
        folder = Path(settings.folder)
        if settings.make_when_needed and not (folder / "jobs.sqlite").exists():
            return
        from pillion.jobs.store import JobStoreError  # noqa: PLC0415 - only servers that have jobs

        try:
            await self.engine().open()
        except JobStoreError as error:
            raise StartError(ExitCode.USAGE, f"jobs.folder: {error}") from error

    def begin(self) -> None:
        """Models are loaded: jobs may run."""
        self._begun = True
        if self._engine is not None:
            self._engine.begin()

    async def stop(self, grace: float) -> None:
        """End what runs within ``grace`` seconds, or put it back into the queue."""
        if self._engine is not None:
            await self._engine.stop(grace)

    def engine(self) -> JobEngine:
        """Who takes jobs.

        Raises:
            PillionError: ``NOT_READY``: there is no place to keep jobs.
        """
        if self._engine is None:
            if not self._settings.folder:
                raise PillionError(
                    ErrorCode.NOT_READY,
                    "this server has no folder to keep jobs in",
                    field="jobs.folder",
                    remedy="name one: --data-dir PATH, or PILLION_JOBS__FOLDER",
                )
            self._engine = self._made()
            if self._begun:
                self._engine.begin()
        return self._engine

    def desk(self) -> TrainingDesk:
        """Who takes trainings.

        Raises:
            PillionError: as above.
        """
        engine = self.engine()
        if self._desk is None:
            from pillion.jobs.training import TrainingDesk  # noqa: PLC0415 - as above

            self._desk = TrainingDesk(engine, self.routes, self._deployable)
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

        settings = job_settings(self._settings, self._models)

        def store() -> JobStore:
            from pillion.jobs.sqlite_store import SqliteJobStore  # noqa: PLC0415 - as above

            return SqliteJobStore(settings.folder)

        return JobEngine(
            settings,
            store,
            {
                JobKind.PREDICTION: PredictionRunner(
                    self._plane, settings.prediction_seconds, settings.max_result_bytes, time.monotonic
                ),
                JobKind.TRAINING: TrainingRunner(settings, self._plane.definitions, self._deploy),
            },
        )


def job_settings(section: JobsSettings, models: str = "") -> JobSettings:
    """The section as the engine takes it; ``models`` is the folder of ``models.store``."""
    from pillion.jobs.settings import JobSettings  # noqa: PLC0415 - only servers that have jobs

    folder = Path(section.folder).expanduser().absolute()
    return JobSettings(
        folder=folder,
        models=Path(models).expanduser().absolute() if models else folder / "models",
        max_queued=section.max_queued,
        max_attempts=section.max_attempts,
        predictions=section.predictions,
        trainings=section.trainings,
        prediction_seconds=section.prediction_seconds,
        keep_seconds=section.keep_seconds,
        keep_jobs=section.keep_jobs,
        inline_bytes=section.inline_bytes,
        max_result_bytes=section.max_result_bytes,
        cancel_grace_seconds=section.cancel_grace_seconds,
        max_memory_bytes=section.max_memory_bytes,
        max_cpu_seconds=section.max_cpu_seconds,
        max_log_bytes=section.max_log_bytes,
    )
