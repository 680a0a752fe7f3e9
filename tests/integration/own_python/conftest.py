"""What several tests of own code need."""

from __future__ import annotations

import pytest

from tests import ports


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    return ports.free_port()
