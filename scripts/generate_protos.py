"""Generate the Python modules of every ``.proto`` file of the runtime, or with ``--check`` say which are out of date.

Two things differ from the code protoc itself writes, both on purpose:

* A descriptor pool of its own. Package ``inference`` is also defined by the protobuf modules of other inference
  clients, and two definitions of one name in the default pool make the second import fail. A model that imports such
  a client must not be able to break the server, nor the server the model.
* No tie to the protobuf version of the generator. The module holds the serialized descriptor and builds the classes
  by protobuf's public ``message_factory``, so one wheel works with every protobuf that ``pyproject.toml`` allows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "runtime" / "src"
BUNDLED = Path(grpc_tools.__file__).parent / "_proto"
"""Protobuf's own files, as the compiler brings them."""
PROTOS = ("pillion/protocol/protos/open_inference.proto", "pillion/protocol/protos/runtime.proto")
MODULE = '''"""Generated from {proto} by scripts/generate_protos.py. Do not edit."""

from google.protobuf import {imports}
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

POOL = descriptor_pool.DescriptorPool()
{dependencies}POOL.AddSerializedFile(
{literal}
)
DESCRIPTOR = POOL.FindFileByName("{proto}")
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_enum)
    globals().update({{_value.name: _value.number for _value in _enum.values}})
'''


def generate(proto: str, into: Path) -> dict[str, str]:
    """Compile one file; the result maps paths relative to the source root to the text they should have."""
    plugin = Path(sys.executable).with_name("protoc-gen-mypy")
    described = into / "descriptor.binpb"
    options = [f"-I{SOURCE}", f"-I{BUNDLED}", f"--plugin=protoc-gen-mypy={plugin}", f"--mypy_out=quiet:{into}"]
    code = protoc.main(["protoc", *options, f"--descriptor_set_out={described}", proto])
    if code != 0:
        raise SystemExit(f"protoc failed on {proto} with exit code {code}")
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()).file
    data = file.SerializeToString(deterministic=True)
    literal = "\n".join(f"    {data[start : start + 80]!r}" for start in range(0, len(data), 80))
    stem = proto.removesuffix(".proto")
    stub = (into / f"{stem}_pb2.pyi").read_text()
    pool = "from google.protobuf import descriptor_pool as _descriptor_pool\n\nPOOL: _descriptor_pool.DescriptorPool\n"
    # Of others only those that protobuf brings along.
    modules = [f"{Path(name).stem}_pb2" for name in file.dependency]
    text = MODULE.format(
        proto=proto,
        literal=literal,
        imports=", ".join(["descriptor_pool", "message_factory", *modules]),
        dependencies="".join(f"POOL.AddSerializedFile({module}.DESCRIPTOR.serialized_pb)\n" for module in modules),
    )
    return {f"{stem}_pb2.py": text, f"{stem}_pb2.pyi": stub + pool}


def outdated(*, write: bool) -> list[str]:
    """Names of the generated files that differ from what they should be; they are put right when ``write`` is set."""
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for proto in PROTOS:
            for name, text in generate(proto, Path(folder)).items():
                target = SOURCE / name
                if target.exists() and target.read_text() == text:
                    continue
                stale.append(str(target.relative_to(ROOT)))
                if write:
                    target.write_text(text)
    return stale


def main() -> int:
    """Write or check the generated files; 1 when ``--check`` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    check = parser.parse_args().check
    stale = outdated(write=not check)
    for name in stale:
        print(f"{'out of date' if check else 'wrote'}: {name}")
    if check and stale:
        print("run: make generate")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
