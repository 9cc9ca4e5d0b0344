"""The one error that users meet."""


class SerError(Exception):
    """A mistake that the caller or the surroundings can mend.

    The message says what came, what was wanted and what to do, on one line.
    """
