"""What the platform says of artifacts: of the whole installation, and of one namespace by a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion.policy import PicklePolicy
from pillion_operator.state.names import PICKLE_POLICY_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PickleRule", "rule_of"]


@dataclass(frozen=True, slots=True)
class PickleRule:
    """The policy for pickles in one namespace, and who says so.

    Attributes:
        policy: the policy.
        said_by: where it comes from, to end a sentence with.
    """

    policy: PicklePolicy = PicklePolicy.PER_OBJECT
    said_by: str = "the operator's default"

    @property
    def denies(self) -> bool:
        """Whether no manifest can allow a pickle."""
        return self.policy is PicklePolicy.DENY


def rule_of(namespace: str, labels: Mapping[str, str] | None, installed: PicklePolicy) -> PickleRule:
    """Return the rule of a namespace: its label's, else the installation's.

    What cannot be read is never taken for consent: a label of another value denies, and labels that the operator may
    not see leave at most the choice of each object.

    Args:
        namespace: its name.
        labels: its labels; None where they could not be read.
        installed: the installation's policy.
    """
    if labels is None:
        policy = PicklePolicy.DENY if installed is PicklePolicy.DENY else PicklePolicy.PER_OBJECT
        return PickleRule(policy, f"the operator, which may not read the labels of the namespace {namespace!r}")
    said = labels.get(PICKLE_POLICY_LABEL)
    if said is None:
        return PickleRule(installed, "the operator's setting modelPolicy.pickle")
    label = f"the label {PICKLE_POLICY_LABEL}={said} of the namespace {namespace!r}"
    try:
        return PickleRule(PicklePolicy(said), label)
    except ValueError:
        return PickleRule(PicklePolicy.DENY, f"{label}, which is none of {', '.join(PicklePolicy)}")
