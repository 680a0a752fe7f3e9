"""Large YAML files and what programs print of them, read by libyaml: a tenth of the time of the parser in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parsed"]


def parsed(source: Path | str) -> list[dict[str, Any]]:
    """The parsed of a file or a text, those without content left out."""
    text = source if isinstance(source, str) else source.read_text()
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
