"""What can go wrong with an artifact: one exception with a stable reason, and the exit codes of the command.

The reasons are part of the interface: the operator copies them into conditions, alerts match on them. A reason is
added, never renamed. Exit codes stand in ranges, so that a script can decide without a table:

=======  ==================================================================================
0        every artifact is in place
2        wrong command line
10-19    the request must be changed before another try can help (URI, setting, address)
20-29    the source refused, or does not have it
30-39    the content was refused (digest, archive, size)
40-49    the transfer failed; another try may help
50-59    this machine could not store it (disk full, no permission)
70       a defect of Pillion
=======  ==================================================================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["EXIT_CODES", "Reason", "StorageError"]


class Reason(StrEnum):
    """Why an artifact is not in place; the text of a member is what status conditions show."""

    INVALID_URI = "InvalidUri"
    UNSUPPORTED_SCHEME = "UnsupportedScheme"
    INVALID_SETTING = "InvalidSetting"
    FORBIDDEN_ADDRESS = "ForbiddenAddress"
    OBJECT_NOT_FOUND = "ObjectNotFound"
    BUCKET_NOT_FOUND = "BucketNotFound"
    ACCESS_DENIED = "AccessDenied"
    DIGEST_MISMATCH = "DigestMismatch"
    UNSAFE_ARCHIVE = "UnsafeArchive"
    CORRUPT_ARCHIVE = "CorruptArchive"
    UNSAFE_PATH = "UnsafePath"
    TOO_LARGE = "TooLarge"
    DIFFERENT_CONTENT = "DifferentContent"
    DOWNLOAD_FAILED = "DownloadFailed"
    DOWNLOAD_STALLED = "DownloadStalled"
    UPLOAD_FAILED = "UploadFailed"
    DISK_FULL = "DiskFull"
    DESTINATION_UNUSABLE = "DestinationUnusable"


EXIT_CODES: Final[dict[Reason, int]] = {
    Reason.INVALID_URI: 10,
    Reason.UNSUPPORTED_SCHEME: 11,
    Reason.INVALID_SETTING: 12,
    Reason.FORBIDDEN_ADDRESS: 13,
    Reason.OBJECT_NOT_FOUND: 20,
    Reason.BUCKET_NOT_FOUND: 21,
    Reason.ACCESS_DENIED: 22,
    Reason.DIGEST_MISMATCH: 30,
    Reason.UNSAFE_ARCHIVE: 31,
    Reason.CORRUPT_ARCHIVE: 32,
    Reason.UNSAFE_PATH: 33,
    Reason.TOO_LARGE: 34,
    Reason.DIFFERENT_CONTENT: 35,
    Reason.DOWNLOAD_FAILED: 40,
    Reason.DOWNLOAD_STALLED: 41,
    Reason.UPLOAD_FAILED: 42,
    Reason.DISK_FULL: 50,
    Reason.DESTINATION_UNUSABLE: 51,
}
"""The exit code of ``python -m pillion.storage`` for each reason."""


class StorageError(Exception):
    """An artifact could not be put in place.

    Attributes:
        reason: the stable word for it.
        message: what is wrong and where, one sentence without a closing full stop and without secrets.
        remedy: what to do about it, an imperative sentence without a closing full stop.
        transient: whether the same request may succeed when sent again.
        retry_after: seconds the server asked to wait before another try, None where it did not say.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        remedy: str,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.remedy = remedy
        self.transient = transient
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}. {self.remedy}."

    @property
    def exit_code(self) -> int:
        """The exit code of the command for this error, of `EXIT_CODES`."""
        return EXIT_CODES[self.reason]
