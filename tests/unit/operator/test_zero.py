"""When a service may go without pods, and which port of the activator stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion_operator.apply.scale import replicas_to_set
from pillion_operator.builders.activator import ports_for
from pillion_operator.observe.pod_load import load_of
from pillion_operator.scaling.decision import PodLoad
from pillion_operator.scaling.zero import LED_SECONDS, Rest, next_step
from pillion_operator.state.names import ACTIVATOR_PORTS
from pillion_operator.state.plan import ReplicaBounds
from pillion_operator.state.zero import Activators, Standing, Step

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

_AFTER = 60.0
_QUIET = Standing(wanted=1, available=1, settled=True, led_for=LED_SECONDS, quiet_for=_AFTER)


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (Standing(wanted=0, available=0), Step.LEAD),
        (Standing(wanted=1, available=0), Step.LEAD),
        (Standing(wanted=1, available=1), Step.WITHDRAW),
        (Standing(wanted=1, available=1, settled=True, quiet_for=_AFTER - 1), Step.WITHDRAW),
        (Standing(wanted=1, available=1, settled=False, led_for=99, quiet_for=_AFTER), Step.WITHDRAW),
        (Standing(wanted=1, available=1, settled=True, quiet_for=_AFTER), Step.LEAD),
        (Standing(wanted=1, available=1, settled=True, led_for=LED_SECONDS - 1, quiet_for=_AFTER), Step.LEAD),
        (_QUIET, Step.SLEEP),
    ],
)
def test_the_activator_is_led_to_before_the_last_pod_goes_and_until_one_takes_requests(
    standing: Standing, step: Step
) -> None:
    assert step == next_step(standing, _AFTER)


def test_time_without_requests_counts_from_the_first_look_at_which_nothing_was_new() -> None:
    rest = Rest()
    rest.look(0.0, {"a": PodLoad(finished=7)})  # which may have ended a moment ago
    assert rest.quiet_for(0.0) is None
    rest.look(2.0, {"a": PodLoad(finished=7)})
    rest.look(4.0, {"a": PodLoad(finished=7)})
    assert 3.0 == rest.quiet_for(5.0)


@pytest.mark.parametrize(
    "pods",
    [
        {"a": PodLoad(finished=8)},
        {"a": PodLoad(finished=7, in_progress=1)},
        {"a": PodLoad(finished=7, jobs=1)},
        {"a": PodLoad(finished=7), "b": None},
        {"a": PodLoad(finished=7), "b": PodLoad(finished=1)},
        {},
    ],
)
def test_what_is_on_its_way_or_not_known_begins_the_time_anew(pods: dict[str, PodLoad | None]) -> None:
    rest = Rest()
    for at in (0.0, 2.0):
        rest.look(at, {"a": PodLoad(finished=7)})
    rest.look(4.0, pods)
    assert rest.quiet_for(4.0) is None


def test_jobs_that_have_ended_are_no_work() -> None:
    running, done = 'pillion_jobs{kind="train",state="RUNNING"} 2', 'pillion_jobs{kind="train",state="COMPLETED"} 9'
    load = load_of(f"pillion_build_info 1\n{running}\n{done}\n")
    assert load is not None
    assert 2 == load.jobs


def planned(*names: str, service: str = "iris") -> JsonObject:
    return {
        "metadata": {"namespace": "shop", "name": f"{service}-predictor-activator"},
        "ports": [{"name": name} for name in names],
    }


def test_a_port_once_given_stays_also_when_it_is_called_otherwise() -> None:
    given = ports_for(planned("http", "grpc"), {}, ())
    assert given is not None
    assert given == ports_for(planned("http", "grpc"), given, {given["http"] + 5})
    assert {"https": given["http"], "grpc": given["grpc"]} == ports_for(planned("https", "grpc"), given, ())


def test_a_port_that_is_given_anew_is_none_of_the_others() -> None:
    given = ports_for(planned("http", "grpc"), {}, ())
    assert given is not None
    anew = ports_for(planned("http", "grpc"), {"grpc": given["grpc"]}, {given["http"]})
    assert anew is not None
    assert anew["grpc"] == given["grpc"]
    assert anew["http"] not in given.values()


def test_services_get_different_ports_and_none_when_all_are_taken() -> None:
    first = ports_for(planned("http"), {}, ())
    second = ports_for(planned("http"), {}, set((first or {}).values()))
    assert first is not None
    assert second is not None
    assert first != second
    assert ports_for(planned("http"), {}, ACTIVATOR_PORTS) is None


def test_only_an_activator_that_listens_for_that_very_service_is_led_to() -> None:
    activators = Activators({"10.0.0.1": {20001: "shop/iris:http"}, "10.0.0.2": {20001: "shop/other:http"}})
    assert ("10.0.0.1",) == activators.serving({20001: "shop/iris:http"})
    assert () == activators.serving({20001: "shop/iris:http", 20002: "shop/iris:grpc"})


@pytest.mark.parametrize(("count", "to_set"), [(0, None), (1, None), (3, None), (9, 5)])
def test_no_pods_are_left_alone_where_there_may_be_none(count: int, to_set: int | None) -> None:
    live: JsonObject = {"spec": {"replicas": count}}
    assert to_set == replicas_to_set(ReplicaBounds(1, 5, to_zero_after=_AFTER), live)


def test_no_pods_become_the_least_where_there_may_not_be_none() -> None:
    assert 1 == replicas_to_set(ReplicaBounds(1, 5), {"spec": {"replicas": 0}})
