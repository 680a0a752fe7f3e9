"""From one target of ``pillion serve`` to the models that it stands for: one, or all of a folder laid out for another
server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.cli.failures import CommandError
from pillion.cli.local import Source, named_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.local import Consent

__all__ = ["sources_of"]


def sources_of(target: str, consent: Consent) -> Sequence[Source]:
    """The models of a target. Settings of other servers that have no meaning here are named on standard error.

    Raises:
        CommandError: no name can be made of it, or the folder asks for what cannot be served here.
    """
    folder = Path(target).expanduser()
    if not folder.is_dir():
        return (named_source(target, consent),)
    from pillion.backends.api import ModelLoadError, canonical_name  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.layouts import LayoutError, read_layout  # noqa: PLC0415 - as above

    try:
        layout = read_layout(folder)
        if layout is None:
            return (named_source(target, consent),)
        sources = [
            Source(
                name=model.name,
                uri=str(model.path.resolve()),
                format=canonical_name(model.format),
                version=model.version,
                allow_pickle=consent.allow_pickle,
                trusted_types=consent.trusted_types,
                execution=model.execution,
            )
            for model in layout.models
        ]
    except (LayoutError, ModelLoadError) as error:
        raise CommandError(f"{target}: {error}", code=2) from None
    for line in layout.unused:
        sys.stderr.write(f"not used by pillion serve: {line}\n")
    return sources
