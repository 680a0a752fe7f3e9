"""The one exception of the test cluster: something is wrong that its reader can put right."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says what is wrong and the remedy."""
