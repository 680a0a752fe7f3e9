"""What the priority that a request asks for comes to.

As with Triton's ``priority`` parameter (extension "Schedule Policy", ``priority_levels`` and ``default_priority_level``
of its dynamic batcher): 1 is the highest, 0 stands for the default, a number beyond the lowest for the lowest, and
where there are no levels the parameter means nothing.
"""

from __future__ import annotations

import msgspec

__all__ = ["Ranks"]


class Ranks(msgspec.Struct, frozen=True):
    """Levels of priority. A rank counts from 0, the highest."""

    levels: int = 0
    """0: priorities mean nothing."""
    default: int = 0
    """The level of requests that name none; 0: the lowest."""

    @property
    def count(self) -> int:
        """How many ranks there are, at least one."""
        return self.levels or 1

    def of(self, priority: int) -> int:
        """The rank of a request."""
        if not self.levels:
            return 0
        if priority <= 0:
            priority = self.default or self.levels
        # More than there are is the lowest and not the default: a bound that a gateway sets must not be passed by it.
        return min(priority, self.levels) - 1
