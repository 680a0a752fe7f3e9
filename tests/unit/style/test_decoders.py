"""Types are taken apart by msgspec before there are threads.

The first decode of a Struct makes what msgspec keeps of its fields. msgspec 0.22 ends the process with a segmentation
fault where two threads do that for one type at once, so decoders of what threads may read are made at the import.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [*(ROOT / "runtime/src").rglob("*.py"), *(ROOT / "operator/src").rglob("*.py")]
ONE_THREAD = {
    "cli/convert_model.py": "a command",
    "model_conversion/worker.py": "the main function of a process",
    "trainingpod/order.py": "the main function of a process",
    "protocol/json_errors.py": "the thread of the event loop, to explain an error",
}
"""Where the first decode of a Struct cannot meet another."""
FIELDLESS = {"dict", "dict[str, Any]", "msgspec.Raw"}


def _decoded_at_once(source: str) -> list[ast.expr]:
    """The types that ``msgspec.<format>.decode`` is given in a call, but for those that have no fields."""
    return [
        keyword.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "decode"
        for keyword in node.keywords
        if keyword.arg == "type" and ast.unparse(keyword.value) not in FIELDLESS
    ]


@pytest.mark.parametrize(
    ("source", "found"), [("msgspec.json.decode(b, type=A | B)", 1), ("j.decode(b, type=dict)", 0)]
)
def test_what_counts(source: str, found: int) -> None:
    assert found == len(_decoded_at_once(source))


def test_decoders_of_structs_are_made_at_the_import() -> None:
    at_once = {
        str(file.relative_to(ROOT))
        for file in SOURCES
        if _decoded_at_once(file.read_text()) and not str(file).endswith(tuple(ONE_THREAD))
    }
    assert not at_once, "make a msgspec Decoder at the import, or say in ONE_THREAD why no other thread can be there"
