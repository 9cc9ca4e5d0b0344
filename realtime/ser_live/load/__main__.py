"""``python -m ser_live.load``."""

import sys

from ser_live.load.command import main

sys.exit(main())
