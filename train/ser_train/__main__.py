"""``python -m ser_train`` is ``ser-train``."""

import sys

from ser_train.commands.cli import main

sys.exit(main())
