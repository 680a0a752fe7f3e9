"""A class that asks another service, for a server of its own."""

from __future__ import annotations

import os

import pillion
from pillion import Model, task

far = pillion.remote(f"{os.environ.get('FAR', 'http://127.0.0.1:9')}/seen")


class Near(Model):
    """Asks."""

    @task
    async def ask(self) -> str:
        """What the other answers."""
        return str(await far.task("anything"))
