"""The entry of the storage init container: ``python -m pillion.storage``."""

from pillion.leaving import leave
from pillion.storage.command import main

if __name__ == "__main__":
    leave(main())
