"""The definitions of ``pillion.runtime`` under the name that they have for others: ``pillion/runtime.proto``."""

from __future__ import annotations

from importlib import resources
from typing import Final

from google.protobuf import descriptor_pb2, struct_pb2, timestamp_pb2

from pillion.protocol.protos import runtime_pb2

__all__ = ["RUNTIME_FILE", "runtime_files", "runtime_text"]

RUNTIME_FILE: Final = "pillion/runtime.proto"


def runtime_files() -> list[descriptor_pb2.FileDescriptorProto]:
    """The file, after those that it depends on."""
    files = []
    for module in (struct_pb2, timestamp_pb2, runtime_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    files[-1].name = RUNTIME_FILE
    return files


def runtime_text() -> str:
    """The same as people read it, and as other compilers take it."""
    return resources.files("pillion.protocol.protos").joinpath("runtime.proto").read_text(encoding="utf-8")
