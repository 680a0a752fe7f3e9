"""The file that tells pods who has which model, and what is said of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from pillion.modelsfile import DeclaredModel, FoundModels, RefusedModel, dump
from pillion.placementfile import PLACEMENT_FILE, Peer, Placed, PlacementFile, PlacementFileError, load, seen_of
from pillion.placementfile import dump as dump_placement
from pillion.resources import InferenceService
from pillion_operator.builders.assignment import Wish
from pillion_operator.builders.declared import digest_in
from pillion_operator.builders.placement import (
    Member,
    former_wish,
    members_of,
    placement_in,
    placement_of,
    with_placement,
)
from pillion_operator.judge.own_models import own_model_facts
from pillion_operator.judge.placement import placement_look, placement_status, room_problem
from pillion_operator.reconcile.placing import placed
from pillion_operator.state.declared import DeclaredReport, OwnModel, PodReport, reports_of
from pillion_operator.state.kinds import CONFIG_MAP
from pillion_operator.state.names import MODELS_PLACED_ANNOTATION
from pillion_operator.state.placement import Placement
from pillion_operator.state.plan import Child, Desired, Endpoints, ReplicaBounds
from pillion_operator.state.reasons import Reason

MIB = 1024 * 1024


def model(name: str, id_: str = "") -> DeclaredModel:
    return DeclaredModel(id=id_ or f"{name}/1", name=name, version="1", uri="s3://models/m.onnx")


def member(name: str, *serving: str, takes: bool = True, **sizes: int) -> Member:
    """A pod that serves the first declaration of these models."""
    ids = frozenset(f"{one}/1" for one in serving)
    measured = {f"{one}/1": size for one, size in sizes.items()}
    return Member(name, f"10.0.0.{ord(name[0])}", takes, ids, frozenset(serving), measured)


def pod(
    name: str, ip: str = "10.0.0.1", phase: str = "Running", *, follows: bool = True, **more: Any
) -> dict[str, Any]:
    annotations = {MODELS_PLACED_ANNOTATION: "true"} if follows else {}
    status = {"phase": phase, "podIP": ip, "conditions": [{"type": "Ready", "status": more.pop("ready", "False")}]}
    status["containerStatuses"] = [{"restartCount": more.pop("restarts", 0)}]
    return {"metadata": {"name": name, "annotations": annotations, **more}, "status": status}


MODELS = [model(name) for name in ("one", "two", "three")]


def test_models_of_a_pod_that_leaves_stay_there_until_they_are_served_elsewhere() -> None:
    first = placement_of(MODELS, [member("a"), member("b")], None, Wish())
    moving = [name for name, placed in first.models.items() if placed.pods == ("a",)]
    staying = [name for name in first.models if name not in moving]
    assert moving
    assert staying

    leaving = [member("a", *moving, takes=False), member("b", *staying)]
    during = placement_of(MODELS, leaving, first, Wish())
    assert dict.fromkeys(moving, (("b",), ("a",))) == {
        name: (placed.pods, placed.until) for name, placed in during.models.items() if name in moving
    }
    assert all(during.models[name].until == () for name in staying)
    assert {"a", "b"} == set(during.pods)

    after = placement_of(MODELS, [leaving[0], member("b", *moving, *staying)], during, Wish())
    assert all(placed == Placed(pods=("b",), bytes=placed.bytes) for placed in after.models.values())
    gone = placement_of(MODELS, [member("b", *staying)], during, Wish())
    assert all(placed.until == () for placed in gone.models.values())
    assert {"b"} == set(gone.pods)


def test_a_pod_keeps_a_model_until_all_pods_know_where_it_went() -> None:
    a, b = member("a"), member("b")
    first = placement_of(MODELS, [a, b], None, Wish())
    during = placement_of(MODELS, [member("a", "one", "two", "three", takes=False), b], first, Wish())
    moved = [name for name, placed in during.models.items() if placed.until]
    served = [replace(member(name, "one", "two", "three"), takes=name == "b") for name in "ab"]

    behind = [replace(one, seen=seen_of(dump_placement(first))) for one in served]
    told = [replace(one, seen=seen_of(dump_placement(during))) for one in served]

    assert moved
    for late in ([behind[0], told[1]], [told[0], behind[1]]):
        assert during == placement_of(MODELS, late, during, Wish())
    assert all(placed.until == () for placed in placement_of(MODELS, told, during, Wish()).models.values())


def test_what_a_pod_had_only_begun_to_load_is_not_kept_there_when_another_comes() -> None:
    alone = placement_of(MODELS, [member("a")], None, Wish())
    both = placement_of(MODELS, [member("a"), member("b")], alone, Wish())

    assert {"a", "b"} == {pod for placed in both.models.values() for pod in placed.pods}
    assert all(placed.until == () for placed in both.models.values())


def test_sizes_are_as_pods_measured_them_then_as_before_then_as_the_others_are() -> None:
    measured = placement_of(MODELS, [member("a", "one", "two", one=10, two=30)], None, Wish())
    assert [10, 30, 20] == [measured.models[name].bytes for name in ("one", "two", "three")]

    later = placement_of(MODELS, [member("b", "one", one=9)], measured, Wish())
    assert [10, 30, 20] == [later.models[name].bytes for name in ("one", "two", "three")]
    grown = placement_of(MODELS, [member("b", "one", one=90)], measured, Wish())
    assert 90 == grown.models["one"].bytes


def test_what_has_no_room_is_said_with_the_figures_and_the_remedy() -> None:
    sizes = {"one": 60 * MIB, "two": 60 * MIB, "three": 60 * MIB}
    before = PlacementFile(models={name: Placed(bytes=size) for name, size in sizes.items()})
    file = placement_of(MODELS, [member("a"), member("b")], before, Wish(1, 100 * MIB))
    (left,) = [name for name, placed in file.models.items() if placed.missing]

    problem = room_problem(left, file)

    assert problem is not None
    assert Reason.MODEL_DOES_NOT_FIT == problem.reason
    assert (
        f"a copy of the model {left!r}: it takes 60.0 MiB, and the emptiest of 2 pods has 40.0 MiB left" in problem.text
    )
    assert "raise modelPlacement.memory or minReplicas" in problem.sentence
    assert [None, None] == [room_problem(name, file) for name in sizes if name != left]
    assert None is room_problem(left, placement_of(MODELS, [], before, Wish())), "pods are to come"


def test_a_pod_that_nobody_reaches_gets_no_models_unless_it_is_new_or_nobody_can_be_reached() -> None:
    pods = [
        pod("answers", restarts=1),
        pod("crashed", restarts=1),
        pod("hidden", restarts=1, ready="True"),
        pod("starts"),
        pod("leaves", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("pending", phase="Pending"),
        pod("ended", phase="Failed"),
        pod("nowhere", ip=""),
        pod("has-all", follows=False),
    ]

    found = members_of(pods, [PodReport("answers", reached=True, served=frozenset({"x"})), PodReport("crashed")])
    closed = members_of(pods, [PodReport("crashed")])

    assert {
        "answers": True, "crashed": False, "hidden": True, "starts": True, "leaves": False, "pending": False,
    } == {one.name: one.takes for one in found}  # fmt: skip
    assert {"answers", "crashed", "hidden", "starts"} == {one.name for one in closed if one.takes}
    assert [frozenset({"x"}), None] == [one.served for one in found if one.name in {"answers", "crashed"}]


def test_a_pod_that_was_ready_and_answers_nobody_any_more_is_not_new() -> None:
    """Its node is gone, say: it was never started again, and is not for as long as the node is away."""

    def changed(name: str, at: str) -> dict[str, Any]:
        one = pod(name)
        one["status"]["conditions"][0]["lastTransitionTime"] = f"2026-01-01T00:{at}Z"
        one["status"]["containerStatuses"][0]["state"] = {"running": {"startedAt": "2026-01-01T00:00:07Z"}}
        return one

    found = members_of(
        [changed("lost", "09:00"), changed("loads", "00:05"), pod("answers")], [PodReport("answers", reached=True)]
    )

    assert {"answers": True, "loads": True, "lost": False} == {one.name: one.takes for one in found}


async def test_pods_that_are_still_to_be_replaced_keep_their_share_when_none_is_asked_for_any_more() -> None:
    class Pods:
        async def read(self, pods: Any) -> tuple[PodReport, ...]:
            return tuple(PodReport(one["metadata"]["name"], reached=True) for one in pods)

    named = {"name": "iris-predictor-models", "namespace": "a"}
    told: dict[str, Any] = {"metadata": named, "data": {"models.json": dump(tuple(MODELS))}}
    planned = Desired((Child(CONFIG_MAP, told),), ReplicaBounds(1, 1), Endpoints("", ""))
    before = placement_of(MODELS, [member("a"), member("b")], None, Wish(2))
    live: dict[str, Any] = told | {"data": told["data"] | {PLACEMENT_FILE: dump_placement(before)}}
    spec: Any = {"apiVersion": "serving.pillion.dev/v1beta1", "kind": "InferenceService", "metadata": {"name": "iris"}}
    service = InferenceService.from_api(spec | {"spec": {"predictor": {"sklearn": {"storageUri": "s3://models/own"}}}})
    observed: Any = SimpleNamespace(
        service={"metadata": {"name": "iris", "namespace": "a"}},
        pods=[pod("a"), pod("new", follows=False)],
        children={CONFIG_MAP: {named["name"]: live}},
    )
    reader: Any = Pods()

    during = await placed(service, observed, planned, reader)
    observed.pods = [pod("new", follows=False)]
    after = await placed(service, observed, planned, reader)

    (child,) = during.children
    file = placement_in(child.manifest)
    assert file is not None
    assert {"a"} == set(file.pods)
    assert dict.fromkeys((one.name for one in MODELS), ("a",)) == {name: one.pods for name, one in file.models.items()}
    assert during.placement is None
    assert Wish(2) == former_wish(before)
    assert planned is after


def test_the_file_goes_beside_the_models_and_has_a_part_in_what_kubelets_are_told() -> None:
    name = "iris-predictor-models"
    told: dict[str, Any] = {"metadata": {"name": name, "namespace": "a"}, "data": {"models.json": dump(tuple(MODELS))}}
    desired = Desired((Child(CONFIG_MAP, told),), ReplicaBounds(1, 1), Endpoints("", ""), models_digest=digest_in(told))

    planned = with_placement("iris", desired, [member("a")], None, Wish())

    (child,) = planned.children
    assert planned.placement is not None
    assert planned.placement.file == placement_in(child.manifest)
    assert desired.models_digest != planned.models_digest == digest_in(child.manifest)
    assert planned == with_placement("iris", desired, [member("a")], child.manifest, Wish())
    nothing = Desired((), ReplicaBounds(1, 1), Endpoints("", ""))
    assert nothing == with_placement("iris", nothing, [member("a")], None, Wish())
    assert None is placement_in({"data": {PLACEMENT_FILE: "{"}})


FILE = PlacementFile(
    pods={"a": Peer(address="10.0.0.1"), "b": Peer(address="10.0.0.2")},
    models={
        "one": Placed(pods=("a",), bytes=5),
        "two": Placed(pods=("b",), until=("a",), bytes=7),
        "three": Placed(pods=("b",), missing=1, bytes=9, why="there is no room"),
    },
)
PLACEMENT = Placement(FILE, {name: f"{name}/1" for name in FILE.models})


def report(name: str, **states: str) -> PodReport:
    models = {f"{one}/1": DeclaredReport(state) for one, state in states.items()}
    return PodReport(name, reached=True, supported=True, models=models)


def test_the_status_tells_of_each_pod_and_asks_soon_while_models_move() -> None:
    reports = [report("a", one="Ready", two="Ready"), report("b", two="Loading", three="Ready")]

    assert {
        "models": 3, "ready": 1, "missing": 1, "summary": "1/3",
        "pods": [
            {"name": "a", "models": 2, "ready": 2, "memory": 12},
            {"name": "b", "models": 2, "ready": 1, "memory": 16},
        ],
    } == placement_status(PLACEMENT, reports)  # fmt: skip
    assert [None, 1.5] == [placement_look(one, reports) for one in (None, PLACEMENT)]
    settled = PlacementFile(pods=FILE.pods, models={"one": FILE.models["one"]})
    assert 60.0 == placement_look(Placement(settled, {"one": "one/1"}), reports)
    short = PlacementFile(pods=FILE.pods, models={"three": FILE.models["three"]})
    assert 10.0 == placement_look(Placement(short, {"three": "three/1"}), reports)


def test_a_model_is_ready_when_its_own_pods_serve_it_and_is_there_while_it_moves() -> None:
    reports = [report("a", one="Ready", two="Ready"), report("b", two="Loading", three="Ready")]
    own = [OwnModel(name, f"{name}/1") for name in FILE.models]

    one, two, three = own_model_facts(own, reports, 2, placement=FILE)

    assert ("Ready", 1, ["a"]) == (one.state, one.wanted, [pod.pod for pod in one.pods])
    assert ("Ready", 1, {"a", "b"}) == (two.state, two.wanted, {pod.pod for pod in two.pods})
    assert three.problem is not None
    assert (Reason.MODEL_DOES_NOT_FIT, 2) == (three.problem.reason, three.wanted)
    assert ["Pending"] * 3 == [facts.state for facts in own_model_facts(own, [report("a"), report("b")], 2)]


def test_reports_have_what_a_model_takes_and_whether_any_version_serves() -> None:
    assert "d" == reports_of("a", {"declared": [], "placement": "d"}).placement
    declared = [{"id": "x/2", "name": "x", "state": "Loading", "serving": "1", "bytes": 7}, {"id": "y/1", "name": "y"}]

    found = reports_of("a", {"declared": declared})

    assert (frozenset({"x"}), [7, 0]) == (found.served, [one.bytes for one in found.models.values()])


def test_a_file_reads_as_it_was_written_and_says_what_is_wrong_with_another() -> None:
    assert FILE == load(dump_placement(FILE))
    assert PlacementFile() == load('{"of a later release": 1}')
    for text in ("", '{"pods": {"a": {}}}', '{"models": {"a": {"missing": -1}}}', b"\xff"):
        with pytest.raises(PlacementFileError):
            load(text)


def test_a_pod_has_its_share_and_keeps_what_it_has_where_the_file_does_not_name_it() -> None:
    from pillion.management.placing import share_of

    found = FoundModels(tuple(MODELS), (RefusedModel(id="four/1", name="four", reason="x"),))

    assert ["one", "two"] == [one.name for one in share_of(FILE, "a", found, ()).models]
    assert ["two", "three"] == [one.name for one in share_of(FILE, "b", found, ["one"]).models]
    assert ["three"] == [one.name for one in share_of(FILE, "c", found, ["three"]).models]
    assert () == share_of(FILE, "a", found, ()).refused
