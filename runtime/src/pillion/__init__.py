"""Pillion: serve, train and manage models, on Kubernetes and on a laptop, from one manifest.

Names are exported lazily so that ``import pillion`` costs no more than the names that are used.
"""

from pillion._version import __version__

__all__ = ["__version__"]
