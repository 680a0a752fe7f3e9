"""Whether KServe's own controller is installed: looked for by the webhook that comes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import VALIDATING_WEBHOOK_CONFIGURATION
from pillion_operator.state.kserve import KSERVE_WEBHOOK
from pillion_operator.state.manifest import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["KServeController"]

#: An answer is good for so long. Who installs KServe's controller later is noticed by its finalizers before.
_SECONDS: Final = 10.0


class KServeController:
    """Asks the API server, by name and not more often than needed."""

    def __init__(self, client: KubernetesClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._known: tuple[bool, float] | None = None

    async def installed(self) -> bool:
        """Return whether it is.

        Raises:
            ApiError: the API server could not be asked: nobody may take what another controller may work on.
        """
        if self._known is None or self._clock() >= self._known[1]:
            found = await self._client.get(VALIDATING_WEBHOOK_CONFIGURATION, Key("", KSERVE_WEBHOOK))
            self._known = (found is not None, self._clock() + _SECONDS)
        return self._known[0]
