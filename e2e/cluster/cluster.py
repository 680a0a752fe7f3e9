#!/usr/bin/env python3
"""The command line of the test cluster; `--help` lists it, `e2e/README.md` explains it."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a file, before anything is installed: the checkout's root is not on the path yet.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from e2e.cluster.node.command_line import main  # only importable after the line above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
