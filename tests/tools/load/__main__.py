"""``python tests/tools/load``."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])

from tools.load.command import main  # noqa: E402 - found by the line above

if __name__ == "__main__":
    sys.exit(main())
