from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion_operator.activator.settings import ActivatorSettings
from pillion_operator.settings import OperatorSettings
from pillion_operator.state.names import OPERATOR_POD_LABELS
from tests.yamls import parsed

if TYPE_CHECKING:
    import pytest

INSTALL = Path(__file__).parents[3] / "config" / "install.yaml"


def _pod(component: str = "operator") -> dict[str, Any]:
    name = f"pillion-{component}"
    found = (one for one in parsed(INSTALL) if (one["kind"], one["metadata"]["name"]) == ("Deployment", name))
    template: dict[str, Any] = next(found)["spec"]["template"]
    return template


def _environment(component: str = "operator") -> dict[str, str]:
    (container,) = _pod(component)["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def test_every_variable_that_the_chart_sets_is_a_setting_of_the_operator() -> None:
    known = {f"PILLION_OPERATOR_{name}".upper() for name in OperatorSettings.model_fields}

    assert set() == {name for name in _environment() if name.startswith("PILLION_")} - known


def test_every_variable_that_the_chart_sets_is_a_setting_of_the_activator_and_its_defaults_are_the_activators_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {f"PILLION_ACTIVATOR_{name}".upper() for name in ActivatorSettings.model_fields}
    # The kubelet fills the addresses in.
    default = ActivatorSettings(service="pillion/pillion-activator", addresses=("10.0.0.1",))

    for name, value in _environment("activator").items():
        if name != "POD_NAMESPACE":
            assert name in known
            monkeypatch.setenv(name, value.replace("$(POD_NAMESPACE)", "pillion") or "10.0.0.1")

    assert default == ActivatorSettings()


def test_the_operator_is_told_the_name_of_the_activators_service() -> None:
    labels = _pod("activator")["metadata"]["labels"]
    (service,) = (
        one["metadata"]["name"]
        for one in parsed(INSTALL)
        if one["kind"] == "Service" and one["spec"]["selector"].items() <= labels.items()
    )
    assert service == _environment()["PILLION_OPERATOR_ACTIVATOR_SERVICE"]


def test_the_operators_pods_carry_the_labels_by_which_network_policies_let_them_in() -> None:
    assert _pod()["metadata"]["labels"].items() >= OPERATOR_POD_LABELS.items()


def test_the_charts_defaults_are_the_operators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    default = OperatorSettings(identity="same")
    for name, value in _environment().items():
        monkeypatch.setenv(name, value)

    set_by_chart = OperatorSettings(identity="same")

    # The chart names the image of its own version, and its Deployment; elsewhere there may be none.
    differing = {"runtime_image", "deployment_name", "activator_service"}
    assert default.model_dump(exclude=differing) == set_by_chart.model_dump(exclude=differing)
