"""Standard object metadata, as far as Pillion reads or writes it."""

from typing import Annotated, TypeAlias

from annotated_types import MaxLen

from pillion.resources.annotations import AtomicOf, Name, Open, Texts
from pillion.resources.base import ResourceModel
from pillion.resources.rules import TextRule

_SUBDOMAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_LABEL_KEY = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_LABEL_VALUE = "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"

ObjectName: TypeAlias = Annotated[
    str,
    MaxLen(253),
    TextRule(
        pattern=_SUBDOMAIN,
        message="a name has lower case letters, digits, '-' and '.', and begins and ends with a letter or digit",
    ),
]
LabelKey: TypeAlias = Annotated[
    str,
    TextRule(
        pattern=_LABEL_KEY,
        message="a key is up to 63 letters, digits, '-', '_' and '.', with a domain and '/' before it where wanted",
    ),
]
LabelValue: TypeAlias = Annotated[
    str, TextRule(pattern=_LABEL_VALUE, message="a label's value is up to 63 letters, digits, '-', '_' and '.'")
]


class ObjectMeta(ResourceModel):
    """Standard object metadata. Source: Kubernetes meta/v1 ObjectMeta."""

    name: ObjectName | None = None
    generate_name: Annotated[str, MaxLen(253)] | None = None
    namespace: Name | None = None
    labels: dict[LabelKey, LabelValue] | None = None
    annotations: dict[LabelKey, str] | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: Texts | None = None
    owner_references: AtomicOf[Open] | None = None
    managed_fields: AtomicOf[Open] | None = None
    self_link: str | None = None
