"""Standard object metadata, as far as Pillion reads or writes it."""

from typing import Annotated

from annotated_types import MaxLen

from pillion.resources.annotations import AtomicOf, Name, Open, TextMap, Texts
from pillion.resources.base import ResourceModel


class ObjectMeta(ResourceModel):
    """Standard object metadata. Source: Kubernetes meta/v1 ObjectMeta."""

    name: Annotated[str, MaxLen(253)] | None = None
    generate_name: Annotated[str, MaxLen(253)] | None = None
    namespace: Name | None = None
    labels: TextMap | None = None
    annotations: TextMap | None = None
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
