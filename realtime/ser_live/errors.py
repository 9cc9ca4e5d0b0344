"""The one error that users meet."""


class SerError(Exception):
    """A mistake that the caller or the surroundings can mend.

    The message says what came, what was wanted and what to do, on one line.

    Examples
    --------
    >>> from ser_live import SerError, recognize_file
    >>> try:
    ...     recognize_file("missing.wav")
    ... except SerError as error:
    ...     print(error)
    missing.wav: cannot read it (No such file or directory)
    """
