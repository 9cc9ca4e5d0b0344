"""``python -m ser_live.server`` is ``ser-serve``."""

import sys

from ser_live.server import main

if __name__ == "__main__":
    sys.exit(main())
