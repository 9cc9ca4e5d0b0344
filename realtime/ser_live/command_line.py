"""What all commands of the project share."""

import argparse
from typing import NoReturn

USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Print the message and where to read more, and exit with 2."""
        tool = self.prog.partition(" ")[0]
        self.exit(USER_ERROR, f"{tool}: error: {message} (see {self.prog} --help)\n")
