"""Scaling to zero: what is known of a service's rest, of the activator, and what is to be done. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Activators", "Standing", "Step"]


@dataclass(frozen=True, slots=True)
class Activators:
    """The replicas of the activator that take connections: for each address, its open ports, and what they stand for.

    A port stands for `namespace/service:port`.
    """

    ports: dict[str, dict[int, str]]

    def serving(self, wanted: dict[int, str]) -> tuple[str, ...]:
        """Return the addresses at which all of these ports stand for what they are to stand for."""
        return tuple(sorted(one for one, ports in self.ports.items() if wanted.items() <= ports.items()))

    def of_others(self, service: str) -> frozenset[int]:
        """Return the ports that stand for Services other than that `namespace/service`."""
        everything = (entry for ports in self.ports.values() for entry in ports.items())
        return frozenset(number for number, text in everything if not text.startswith(f"{service}:"))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands.

    Attributes:
        wanted: pods that are asked for.
        available: pods that take requests.
        settled: whether nothing is being rolled out, and what runs is known to start.
        led_for: seconds for which its Service has led to the activator; None where it does not.
        quiet_for: seconds for which every pod has told that nothing is on its way; None where something is, or where it
            is not known.
    """

    wanted: int
    available: int
    settled: bool = False
    led_for: float | None = None
    quiet_for: float | None = None


class Step(Enum):
    """What is to be done with a service that may have no pods."""

    LEAD = auto()
    """Its Service leads to the activator, beside the pods where there are some."""
    WITHDRAW = auto()
    """Its Service leads to its pods alone."""
    SLEEP = auto()
    """Its pods go; its Service leads to the activator already."""
