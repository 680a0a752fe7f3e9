"""Lists of trainings that come from the API server in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.store import JobFilter
from pillion.server import cluster_trainings
from pillion.server.cluster_trainings import ClusterTrainings

if TYPE_CHECKING:
    from pathlib import Path


class Pod:
    """An account whose API server has that many trainings, in parts of two."""

    namespace = "ns"

    def __init__(self, _account: Path) -> None:
        self.number = 5

    async def ask(self, _method: str, _path: str, _body: object, *, params: dict[str, str], **_: str) -> httpx.Response:
        begin = int(params.get("continue", "0"))
        end = min(begin + 2, self.number)
        found: dict[str, Any] = {
            "items": [
                {"metadata": {"name": f"mood-{one}", "creationTimestamp": f"2026-01-01T00:00:0{one % 10}Z"}}
                for one in range(begin, end)
            ],
            "metadata": {"continue": str(end)} if end < self.number else {},
        }
        return httpx.Response(200, json=found)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> ClusterTrainings:
    monkeypatch.setattr(cluster_trainings, "PodAccount", Pod)
    return ClusterTrainings("mood", {}, follows=False, routes=list, loading=lambda: False)


async def test_a_page_is_of_all_parts_and_says_what_follows(trainings: ClusterTrainings) -> None:
    first = await trainings.page(JobFilter(), None, 3)
    rest = await trainings.page(JobFilter(), first.following, 3)

    assert ["mood-4", "mood-3", "mood-2"] == [job.id for job in first.jobs]
    assert (["mood-1", "mood-0"], None) == ([job.id for job in rest.jobs], rest.following)


async def test_more_trainings_than_are_listed_are_an_error(
    trainings: ClusterTrainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_trainings, "_MOST_LISTED", 4)

    with pytest.raises(PillionError, match="more than 4 TrainingJobs") as told:
        await trainings.page(JobFilter(), None, 3)

    assert ErrorCode.CONFLICT is told.value.code
