"""What each phase means for readiness."""

from __future__ import annotations

import pytest

from pillion.server.life import Phase, readiness


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.SERVING, Phase.WINDOW])
def test_a_ready_plane_is_ready_also_while_the_pod_is_being_deleted(phase: Phase) -> None:
    assert "" == readiness(phase, plane_ready=True, not_ready="")


@pytest.mark.parametrize("phase", [Phase.CORDONED, Phase.STOPPING])
def test_a_drain_without_deletion_and_a_stop_are_not_ready(phase: Phase) -> None:
    assert "draining" in readiness(phase, plane_ready=True, not_ready="")


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.SERVING, Phase.WINDOW])
def test_a_plane_that_is_not_ready_says_why(phase: Phase) -> None:
    assert "model iris: loading" == readiness(phase, plane_ready=False, not_ready="model iris: loading")
    assert readiness(phase, plane_ready=False, not_ready="")
