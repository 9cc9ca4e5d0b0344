"""``python -m ser_live`` is ``ser-live``."""

import sys

from ser_live.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
