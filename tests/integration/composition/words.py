"""A model that graphs call in their own server."""

from __future__ import annotations

from pillion import Model, task


class Words(Model):
    """Takes texts apart."""

    @task
    def spell(self, text: str) -> list[str]:
        """Its letters."""
        return list(text)

    @task
    def reverse(self, text: str) -> str:
        """From its end."""
        return text[::-1]
