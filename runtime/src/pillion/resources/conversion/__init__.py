"""KServe's manifests as ours: pure functions from texts to a text and remarks. `pillion convert` prints both."""

from pillion.resources.conversion.files import convert
from pillion.resources.conversion.remarks import Conversion, Remark, Subject

__all__ = ["Conversion", "Remark", "Subject", "convert"]
