"""When a training is looked at again: the reconcile itself, with nobody to ask but the caches."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pillion_operator.builders.credentials import StorageCredentials
from pillion_operator.observe.store import Store
from pillion_operator.reconcile.trainings import TrainingParts, TrainingReconciler
from pillion_operator.state.kinds import JOB, POD, TRAINING_JOB
from pillion_operator.state.manifest import Key
from pillion_operator.state.names import training_labels
from pillion_operator.state.observed import Outcome
from pillion_operator.state.plan import Problem
from pillion_operator.state.settings import RenderSettings

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

KEY = Key("shop", "digits")


class World:
    """One TrainingJob, and a cluster that does nothing."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.store = Store()
        self.problems: tuple[Problem, ...] = ()
        self._version = 0
        around = cast("Any", self)
        self.reconciler = TrainingReconciler(
            TrainingParts(
                store=self.store,
                references=around,
                reports=around,
                pods=around,
                applier=around,
                status=around,
                events=around,
                settings=RenderSettings(),
                wall_clock=lambda: self.now,
                clock=lambda: self.now,
            )
        )

    def put(self, generation: int, **spec: Any) -> None:
        metadata = {"uid": "u", "generation": generation, "labels": {}}
        manifest = {
            "apiVersion": "serving.pillion.dev/v1beta1",
            "kind": "TrainingJob",
            "spec": {"module": "a.b:C", "output": {"uri": "s3://models/out"}, **spec},
        }
        self.record(TRAINING_JOB, manifest | {"metadata": metadata}, KEY.name)

    def record(self, kind: Any, manifest: dict[str, Any], name: str) -> None:
        self._version += 1
        manifest["metadata"] |= {"namespace": KEY.namespace, "name": name, "resourceVersion": str(self._version)}
        self.store.record(kind, manifest)

    def look(self) -> float | None:
        """Reconcile, and let the time pass until the next look is due."""
        wait = asyncio.run(self.reconciler.reconcile(KEY))
        self.now += wait or 0.0
        return wait

    async def of_training(self, _: object) -> Any:
        return SimpleNamespace(credentials=StorageCredentials(), missing=())

    async def read(self, *_: object) -> None:
        return None

    async def write(self, *_: object) -> bool:
        return True

    async def post(self, *_: object) -> None:
        return None

    async def change(self, live: Manifest, *_: object) -> Outcome:
        del live
        return Outcome(self.problems)


def test_a_problem_that_lasts_is_looked_at_ever_more_seldom_and_a_change_at_once() -> None:
    world = World()
    world.put(1, dataset={"uri": "/home/me/data"})

    assert [3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0] == [world.look() for _ in range(7)]
    world.put(2, dataset={"uri": "/home/me/others"})
    assert [3.0, 6.0] == [world.look() for _ in range(2)]


def test_a_training_that_runs_is_asked_how_far_it_is_whatever_else_there_is_to_wait_for() -> None:
    world = World()
    world.put(1)
    owner = [{"kind": "TrainingJob", "name": "digits", "uid": "u", "controller": True}]
    labels = training_labels("digits")
    job = {"metadata": {"uid": "j", "labels": labels, "ownerReferences": owner}, "spec": {}, "status": {}}
    world.record(JOB, job, "digits-training")
    running = {"name": "training", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    pod = {
        "metadata": {"uid": "p", "labels": labels, "ownerReferences": [{"uid": "j", "controller": True}]},
        "status": {"phase": "Running", "containerStatuses": [running]},
    }
    world.record(POD, pod, "digits-training-0")

    assert [5.0, 5.0] == [world.look() for _ in range(2)]
    # What was changed too late is no reason to look sooner: only another change mends it.
    world.problems = (Problem("Immutable", "changed", "spec", transient=False),)
    assert [5.0, 5.0] == [world.look() for _ in range(2)]
    world.problems = (Problem("Forbidden", "may not be patched", "Job/digits-training"),)
    assert [3.0, 5.0, 1.0, 5.0] == [world.look() for _ in range(4)]
