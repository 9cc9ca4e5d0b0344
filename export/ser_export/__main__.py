"""``python -m ser_export`` is ``ser-export``."""

import sys

from ser_export.cli import main

if __name__ == "__main__":
    sys.exit(main())
