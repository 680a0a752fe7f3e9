"""The entry of the storage init container: ``python -m pillion.storage``."""

import sys

from pillion.storage.command import main

if __name__ == "__main__":
    sys.exit(main())
