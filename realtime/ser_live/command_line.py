"""Parsing, signals and exit codes for all commands of the project."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn, Self

from ser_live.errors import SerError
from ser_live.standard_streams import safe_streams, stdout_failure

USER_ERROR = 2

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Print the message and where to read more, and exit with 2."""
        tool = self.prog.partition(" ")[0]
        for word in sys.argv[1:]:
            if word.startswith("-") and os.path.exists(word):  # noqa: PTH110 - quick to import
                message += f"; if you mean the file, name it {'./' + word!r}"
        self.exit(USER_ERROR, f"{tool}: error: {message} (see {self.prog} --help)\n")

    def _get_values(self, action: argparse.Action, given: list[str]) -> Any:
        # From a variable of the shell that was not set; a command looks at its own.
        if "" in given and action.default != "" and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, "is empty, wanted a value")
        return super()._get_values(action, given)


class Stopped(BaseException):
    """A signal asked the program to end."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def exit_code_of(program: str, work: Callable[[], int]) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr.

    A reader of stdout that has gone is no mistake; a stdout that is full is one, told at the end.
    """
    with safe_streams():
        exit_code = _exit_code(program, work)
        sys.stdout.flush()
        failure = stdout_failure()
        # Windows calls a reader that has gone an invalid argument.
        if not failure or isinstance(failure, ConnectionError) or failure.errno == errno.EINVAL:
            return exit_code
        reason = f"stdout: cannot write on ({failure.strerror}); give it room or another place"
        return max(exit_code, _fail(program, reason))


def _exit_code(program: str, work: Callable[[], int]) -> int:
    try:
        with Signals():
            return work()
    except SerError as error:
        return _fail(program, str(error))
    except Stopped as stopped:
        return stopped.exit_code
    except SystemExit as ended:  # after --help, or a mistake in the options
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return _EXIT_CODES[signal.SIGINT]
    except OSError as error:
        if error.errno == errno.ENOSPC:
            reason = f"cannot write on ({error.strerror}); make room for the output"
        elif error.filename is not None:
            from ser_live.text import sanitize  # noqa: PLC0415 - not for --help

            name = sanitize(error.filename)
            reason = f"{name}: {error.strerror}; give another path, or access to this one"
        else:
            raise
        return _fail(program, reason)


def _fail(program: str, reason: str) -> int:
    print(f"{program}: error: {' '.join(reason.split())}", file=sys.stderr)
    return USER_ERROR


class Signals:
    """Ctrl-C and SIGTERM raise `Stopped` in this context; a second one ends the program at once.

    Whatever becomes of that exception on its way, `Stopped` is what leaves the context: an import
    that is interrupted in C turns it into an ImportError, and others catch everything.
    In another thread than the main one, and for signals that were ignored before, nothing
    changes.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, object] = {}
        self._is_postponed = False
        self._exit_code: int | None = None  # no exception, which would hold on to its frames

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _EXIT_CODES:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:
                    self._before[number] = before or signal.SIG_DFL
                    signal.signal(number, self._stop)
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()
        if self._exit_code is not None and not isinstance(error, Stopped):
            raise Stopped(self._exit_code) from None

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Let the body happen whole: a signal that comes meanwhile ends the program after it."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
        if self._exit_code is not None:
            raise Stopped(self._exit_code)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        with _blocked({*self._before}):  # one between would be reported as a race
            for known in self._before:
                signal.signal(known, signal.SIG_DFL)
        self._exit_code = _EXIT_CODES[signal.Signals(number)]
        if not self._is_postponed:
            raise Stopped(self._exit_code)


@contextlib.contextmanager
def _blocked(numbers: set[signal.Signals]) -> Iterator[None]:
    """Let signals wait, where the system can do that."""
    can_wait = hasattr(signal, "pthread_sigmask")
    if can_wait:
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        if can_wait:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
