"""InferenceService: a model, or containers, served behind one address."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import MaxLen, MinLen

from pillion.resources.annotations import AtomicList, Shallow
from pillion.resources.base import ResourceModel
from pillion.resources.component import (
    LABEL_MESSAGE,
    LABEL_PATTERN,
    CanarySpec,
    ExplainerSpec,
    PredictorSpec,
    TransformerSpec,
)
from pillion.resources.graph import GraphSpec
from pillion.resources.metadata import ObjectMeta
from pillion.resources.rules import Rule, matches
from pillion.resources.status import InferenceServiceStatus
from pillion.resources.traffic import AuthSpec, NetworkingSpec

#: A child's name is a DNS label (63 characters); the longest suffix given to one is `-predictor-canary`.
NAME_LIMIT = 46

Canaries: TypeAlias = Annotated[list[CanarySpec], MinLen(1), MaxLen(10), AtomicList()]


def _canary_names(spec: "InferenceServiceSpec") -> list[str | None]:
    return [canary.predictor.name for canary in spec.canary or []]


def _variant_name_fits(service: "InferenceService") -> bool:
    names = [service.spec.predictor.name, *_canary_names(service.spec)]
    own = len(service.metadata.name or "")
    return all(name is None or own + len(name) + len("--predictor") <= 63 for name in names)


class InferenceServiceSpec(ResourceModel):
    """What to serve and how."""

    predictor: PredictorSpec
    """The component that answers predictions."""

    transformer: Annotated[TransformerSpec, Shallow()] | None = None
    """The component that changes requests before, and answers after, the predictor. Callers are led to it."""

    explainer: Annotated[ExplainerSpec, Shallow()] | None = None
    """The component that explains predictions: `:explain` of the V1 protocol is led to it."""

    canary: Canaries | None = None
    """Further predictors, each with a share of the requests."""

    networking: NetworkingSpec | None = None
    """The way in from outside the cluster."""

    auth: AuthSpec | None = None
    """Who may ask the predictor."""

    graph: GraphSpec | None = None
    """Models and services put together, run by the predictor."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.canary) || self.canary.map(c, c.trafficPercent).sum() <= 100",
            message="the trafficPercent of all canaries together is more than 100",
            field="canary",
            holds=lambda spec: sum(canary.traffic_percent for canary in spec.canary or []) <= 100,
        ),
        Rule(
            cel="!has(self.canary) || self.canary.all(c, has(c.predictor.name))",
            message="each canary needs predictor.name: it becomes part of the children's names",
            field="canary",
            holds=lambda spec: None not in _canary_names(spec),
        ),
        Rule(
            cel="!has(self.canary) || self.canary.all(c, !has(c.predictor.name) || ("
            "self.canary.exists_one(d, has(d.predictor.name) && d.predictor.name == c.predictor.name) && "
            "(!has(self.predictor.name) || self.predictor.name != c.predictor.name)))",
            message="two predictors have the same name; give each its own",
            field="canary",
            holds=lambda spec: _unique([spec.predictor.name, *_canary_names(spec)]),
        ),
        Rule(
            cel="!has(self.graph) || !has(self.predictor.modelPlacement)",
            message="graph and predictor.modelPlacement exclude each other: a graph calls the models of its own pod; "
            "leave modelPlacement out",
            field="graph",
            holds=lambda spec: spec.graph is None or spec.predictor.model_placement is None,
        ),
        Rule(
            cel="!has(self.canary) || !has(self.predictor.canaryTrafficPercent)",
            message="canary and predictor.canaryTrafficPercent are two ways to say the same; keep one",
            field="canary",
            holds=lambda spec: spec.canary is None or spec.predictor.canary_traffic_percent is None,
        ),
    )


def _unique(names: list[str | None]) -> bool:
    given = [name for name in names if name is not None]
    return len(given) == len(set(given))


class InferenceService(ResourceModel):
    """A model, or containers of one's own, served over HTTP and gRPC behind one address."""

    api_version: Literal["serving.pillion.dev/v1beta1"]
    kind: Literal["InferenceService"]
    metadata: ObjectMeta
    spec: InferenceServiceSpec
    """What to serve and how."""

    status: InferenceServiceStatus | None = None
    """What the operator last saw and did."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {NAME_LIMIT}",
            message=f"the name is longer than {NAME_LIMIT} characters, which leaves no room for the suffixes of the "
            "children's names; choose a shorter one",
            field="metadata.name",
            holds=lambda service: len(service.metadata.name or "") <= NAME_LIMIT,
        ),
        Rule(
            cel=f"self.metadata.name.matches('{LABEL_PATTERN}')",
            message=LABEL_MESSAGE,
            field="metadata.name",
            holds=lambda service: service.metadata.name is None or matches(LABEL_PATTERN, service.metadata.name),
        ),
        Rule(
            cel="(!has(self.spec.predictor.name) || "
            "self.metadata.name.size() + self.spec.predictor.name.size() <= 52) && (!has(self.spec.canary) || "
            "self.spec.canary.all(c, !has(c.predictor.name) || "
            "self.metadata.name.size() + c.predictor.name.size() <= 52))",
            message="the object's and a predictor's name together are longer than 52 characters; shorten one",
            field="metadata.name",
            holds=_variant_name_fits,
        ),
    )
