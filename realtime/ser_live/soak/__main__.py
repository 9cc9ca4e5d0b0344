"""``python -m ser_live.soak``."""

import sys

from ser_live.soak.command import main

sys.exit(main())
