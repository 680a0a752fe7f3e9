"""`autoScaling.behavior` as the operator's own autoscaler takes it. Source: autoscaling/v2, and its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import finite, object_at, objects_at
from pillion_operator.state.scaling import Behavior, Direction, Rate

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

__all__ = ["DEFAULT", "behavior_of"]

DEFAULT: Final = Behavior(
    up=Direction(0.0, (Rate("Percent", 100, 15.0), Rate("Pods", 4, 15.0))),
    down=Direction(300.0, (Rate("Percent", 100, 15.0),)),
)
_MOST_WINDOW: Final = 3600
_MOST_PERIOD: Final = 1800


def behavior_of(given: JsonObject | None) -> tuple[Behavior, tuple[str, ...]]:
    """Return the behaviour, and what of it cannot be: the field's address below `behavior`, and why."""
    wrong: list[str] = []
    up = _direction(object_at(given or {}, "scaleUp"), DEFAULT.up, "scaleUp", wrong)
    down = _direction(object_at(given or {}, "scaleDown"), DEFAULT.down, "scaleDown", wrong)
    return Behavior(up, down), tuple(wrong)


def _direction(given: JsonObject, default: Direction, name: str, wrong: list[str]) -> Direction:
    window = given.get("stabilizationWindowSeconds")
    if window is None:
        window = default.window
    elif not _whole(window, 0, _MOST_WINDOW):
        wrong.append(f"{name}.stabilizationWindowSeconds (a whole number of seconds up to {_MOST_WINDOW})")
        window = default.window
    select = given.get("selectPolicy", "Max")
    if select not in {"Max", "Min", "Disabled"}:
        wrong.append(f"{name}.selectPolicy (Max, Min or Disabled)")
        select = "Max"
    tolerance = default.tolerance if given.get("tolerance") is None else _quantity(given["tolerance"])
    if tolerance is None:
        wrong.append(f"{name}.tolerance (a part of the target, such as 0.05)")
        tolerance = default.tolerance
    rates = default.rates
    if given.get("policies") is not None:
        rates = tuple(filter(None, (_rate(policy, name, wrong) for policy in objects_at(given, "policies"))))
    return Direction(finite(window) or 0.0, rates or default.rates, select, tolerance)  # type: ignore[arg-type]  # checked above


def _rate(policy: JsonObject, name: str, wrong: list[str]) -> Rate | None:
    match policy:
        case {"type": "Pods" | "Percent" as kind, "value": int(value), "periodSeconds": int(period)}:
            if _whole(value, 1, 2**31) and _whole(period, 1, _MOST_PERIOD):
                return Rate("Pods" if kind == "Pods" else "Percent", value, float(period))
    wrong.append(f"{name}.policies (type Pods or Percent, value above 0, periodSeconds from 1 to {_MOST_PERIOD})")
    return None


def _whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _quantity(value: object) -> float | None:
    text = str(value)
    scale = 1000.0 if text.endswith("m") else 1.0
    try:
        found = float(text.removesuffix("m")) / scale
    except ValueError:
        return None
    return found if 0.0 <= found < 1.0 else None
