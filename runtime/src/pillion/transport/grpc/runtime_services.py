"""The services of ``pillion.runtime``: which there are, whose code is imported with the first call of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from pillion.dataplane.tasks import TaskPlane
    from pillion.management.deployments import Deployments
    from pillion.transport.grpc.options import GrpcOptions
    from pillion.transport.job_access import JobAccess

__all__ = ["RUNTIME_PATH", "RuntimeParts"]

_PACKAGE: Final = "pillion.runtime"
RUNTIME_PATH: Final = f"/{_PACKAGE}."
"""How the names of their methods begin."""


class RuntimeParts(msgspec.Struct, frozen=True):
    """What answers them."""

    deployments: Callable[[], Deployments]
    """Made by the first call that needs it."""
    jobs: JobAccess
    tasks: TaskPlane
    max_upload_bytes: int
    """Of one upload, which is written to disk while it arrives."""

    def services(self) -> list[str]:
        """Names of those that there are; what is switched off is not there."""
        there = {"JobService": self.jobs.predictions, "TrainingManagement": self.jobs.trainings}
        names = ("JobService", "TrainingManagement", "InfoService", "ModelManagement")
        return [f"{_PACKAGE}.{name}" for name in names if there.get(name, True)]

    def handlers(self, options: GrpcOptions) -> Sequence[grpc.GenericRpcHandler]:
        """Their methods."""
        from pillion.transport.grpc.job_services import JobMethods, TrainingMethods  # noqa: PLC0415 - see above
        from pillion.transport.grpc.model_services import InfoMethods, ModelMethods  # noqa: PLC0415 - see above
        from pillion.transport.grpc.observation import observer_of  # noqa: PLC0415 - see above
        from pillion.transport.grpc.runtime_calls import RuntimeCalls  # noqa: PLC0415 - see above

        methods: dict[str, JobMethods | TrainingMethods | InfoMethods | ModelMethods] = {
            f"{_PACKAGE}.JobService": JobMethods(self.jobs, self.tasks),
            f"{_PACKAGE}.TrainingManagement": TrainingMethods(self.jobs),
            f"{_PACKAGE}.InfoService": InfoMethods(self.deployments),
            f"{_PACKAGE}.ModelManagement": ModelMethods(self.deployments, self.max_upload_bytes),
        }
        handlers: list[grpc.GenericRpcHandler] = []
        for service in self.services():
            calls = RuntimeCalls(service, options.management, observer_of(options), options.api_key)
            methods[service].add_to(calls)
            handlers.append(calls.handler())
        return handlers
