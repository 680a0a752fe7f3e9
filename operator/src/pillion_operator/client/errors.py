"""What the API server refuses, as one exception with the parts that decisions need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import number_at, objects_at, text_at

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject

__all__ = ["ApiError", "NotLeaderError"]


class NotLeaderError(RuntimeError):
    """A write was about to leave while the lease is not, or no longer surely, held: it was not sent."""


class ApiError(Exception):
    """An answer of the API server that is not a success.

    Attributes:
        status: the HTTP status, 0 where no answer came.
        reason: Kubernetes' one word for it, such as `Conflict`, `Invalid`, `Forbidden`.
        message: the server's sentence.
        fields: the fields it names.
        retry_after: seconds that the server asks to wait, None where it does not say.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        fields: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.fields = fields
        self.retry_after = retry_after

    @classmethod
    def from_status(cls, status: int, answer: JsonObject, retry_after: float | None = None) -> ApiError:
        """Read the `Status` object that the server answers with."""
        causes = objects_at(answer, "details", "causes")
        told = number_at(answer, "details", "retryAfterSeconds", default=-1)
        return cls(
            status,
            text_at(answer, "reason") or "Unknown",
            text_at(answer, "message") or "the API server gave no reason",
            fields=tuple(text_at(cause, "field") for cause in causes),
            retry_after=retry_after if told < 0 else float(told),
        )

    @property
    def not_found(self) -> bool:
        """Whether the object is not there."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Whether another writer was faster, or owns the field."""
        return self.status == 409

    @property
    def terminating(self) -> bool:
        """Whether the namespace or the kind's definition is being deleted, so that nothing can be made any more."""
        return self.status == 403 and ("being terminated" in self.message or "is terminating" in self.message)

    @property
    def refused(self) -> bool:
        """Whether the content or our rights are the cause, so that trying the same again cannot help.

        An applied object with a field that its type does not have is answered 500, as if the server were at fault.
        """
        untyped = self.status == 500 and self.message.startswith("failed to create typed patch object")
        return untyped or self.status in {400, 403, 405, 413, 422}
