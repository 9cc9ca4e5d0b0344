"""``python -m ser_live.doctor``."""

import sys

from ser_live.doctor.command import main

sys.exit(main())
