"""How a component changes and how its pods leave: rollouts, draining, where its files are kept."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen

from pillion.resources.annotations import AtomicOf, Open, Quantity
from pillion.resources.base import ResourceModel
from pillion.resources.core import ResourceRequirements
from pillion.resources.rules import Rule, TextRule, matches
from pillion.resources.traffic import Duration


def _is_some_time(duration: str | None) -> bool:
    return duration is None or matches("[1-9]", duration)


class RolloutStep(ResourceModel):
    """One step of a canary."""

    weight: Annotated[int, Ge(1), Le(100)]
    """The percentage of requests that go to the new version; 100 lets it take over."""

    pause: Duration | None = None
    """How long this step lasts at least, once its pods are there. Default: the analysis' window, else no longer."""


class RolloutAnalysis(ResourceModel):
    """What the new version is held to; when it fails, the old one gets every request back."""

    error_rate: (
        Annotated[
            str,
            MaxLen(16),
            TextRule(
                pattern=r"^([0-9]{1,2}([.][0-9]+)?%|100%|0([.][0-9]+)?|1)$",
                message="errorRate is a share of the requests, such as 1% or 0.01",
            ),
        ]
        | None
    ) = None
    """The greatest share of requests that fail by the server's fault, such as `1%` or `0.01`."""

    latency: Duration | None = None
    """The greatest 99th percentile of the response time."""

    window: Duration | None = None
    """The time over which both are measured. Default: 5m."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.window) || self.window.matches('[1-9]')",
            message="no request is counted within a window of zero, so nothing would ever pass; write one such as 5m",
            field="window",
            holds=lambda analysis: _is_some_time(analysis.window),
        ),
        Rule(
            cel="!has(self.latency) || self.latency.matches('[1-9]')",
            message="every request takes longer than a latency of zero; write one such as 200ms",
            field="latency",
            holds=lambda analysis: _is_some_time(analysis.latency),
        ),
    )

    @property
    def greatest_error_rate(self) -> float | None:
        """The share as a number from 0 to 1."""
        if self.error_rate is None:
            return None
        share = float(self.error_rate.removesuffix("%"))
        return share / 100 if self.error_rate.endswith("%") else share


class RolloutSpec(ResourceModel):
    """How a new version takes over."""

    mode: Literal["Availability", "ResourceAware"] | None = None
    """Availability adds a pod before it removes one, which needs room for one more. ResourceAware removes one first:
    meanwhile one pod fewer answers, and of a single replica none. `deploymentStrategy` decides where both are set.
    Default: Availability."""

    steps: Annotated[AtomicOf[RolloutStep], MaxLen(20)] | None = None
    """The shares of requests that the new version gets, one after the other; then it takes over. `canaryTrafficPercent`
    decides where it is set, too."""

    analysis: RolloutAnalysis | None = None
    """What the new version is held to at each step."""

    progress_deadline: Duration | None = None
    """How long a rollout may make no progress before it counts as failed; bytes that arrive are progress.
    Default: 10m."""


class DrainSpec(ResourceModel):
    """How a pod leaves without a failed request."""

    window_seconds: Annotated[int, Ge(0), Le(3600)] | None = None
    """How long a leaving pod still takes requests while connections move elsewhere. Default: 25."""

    timeout_seconds: Annotated[int, Ge(0), Le(86400)] | None = None
    """How long requests in progress may take after that. Default: the longest deadline, else 30."""


class ArtifactVolume(ResourceModel):
    """The volume that holds the model's files."""

    size_limit: Quantity | None = None
    """The most it may hold."""

    medium: Literal["", "Memory"] | None = None
    """`Memory` keeps the files in memory, counted as the pod's. Default: the node's disk."""

    ephemeral: Open | None = None
    """A generic ephemeral volume instead: `volumeClaimTemplate` as in core/v1."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.ephemeral) || (!has(self.sizeLimit) && !has(self.medium))",
            message="ephemeral takes its size from its volumeClaimTemplate; leave out sizeLimit and medium",
            field="ephemeral",
            holds=lambda volume: volume.ephemeral is None or (volume.size_limit is None and volume.medium is None),
        ),
    )


class ArtifactStorage(ResourceModel):
    """The step that fetches the model's files before the server starts."""

    resources: ResourceRequirements | None = None
    """What the fetching container asks for and may use. Default: 128Mi of memory and 100m of CPU asked for."""

    volume: ArtifactVolume | None = None
    """The volume that holds the files."""
