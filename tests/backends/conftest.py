"""The tests of this folder need PyTorch, which `make setup` does not install: `make test-backends` runs them."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
