"""``ser-live doctor``: what is wrong with this machine, and how to mend it.

Nothing here may need more than the standard library before it has been checked: a doctor must
start where numpy is broken.
"""

from ser_live.doctor.command import main

__all__ = ["main"]
