"""``crds/`` and the reference pages of the custom resources."""

from __future__ import annotations

from pillion.resources.crd import KINDS, crd_yaml
from pillion.resources.reference import PAGES, reference_page

FOLDERS = ("crds",)


def outputs() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    definitions = {f"crds/{kind.crd_name}.yaml": crd_yaml(kind) for kind in KINDS}
    pages = {f"docs/reference/{page.file}": reference_page(page) for page in PAGES}
    return definitions | pages
