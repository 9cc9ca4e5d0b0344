"""Parsing, signals, exit codes and a silent stderr for all commands of the project."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from ser_live.errors import SerError

USER_ERROR = 2

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Print the message and where to read more, and exit with 2."""
        tool = self.prog.partition(" ")[0]
        self.exit(USER_ERROR, f"{tool}: error: {message} (see {self.prog} --help)\n")


class Stopped(BaseException):
    """A signal asked the program to end."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def exit_code_of(program: str, work: Callable[[], int]) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr."""
    _reopen_closed_streams()
    try:
        exit_code = work()
        sys.stdout.flush()  # only here a full disk can be told
        return exit_code
    except SerError as error:
        return _fail(program, str(error))
    except Stopped as stopped:
        return stopped.exit_code
    except KeyboardInterrupt:
        return _EXIT_CODES[signal.SIGINT]
    except BrokenPipeError:  # the reader has closed it
        _give_stdout_up()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_stdout_up()
        return _fail(program, f"cannot write on ({error.strerror}); make room for the output")


def _fail(program: str, reason: str) -> int:
    with contextlib.suppress(OSError):  # stderr may be full, too
        print(f"{program}: error: {reason}", file=sys.stderr)
    return USER_ERROR


def _give_stdout_up() -> None:
    """Let the interpreter not find out again, when it flushes, that stdout takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reopen_closed_streams() -> None:
    """Send to nowhere what goes to a stream that was closed before the start (``2>&-``).

    Without a stderr, `print` would take stdout, and the next file that is opened its descriptor.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for the length of a block.

    TensorFlow's C++ side announces CUDA, oneDNN and processor features there at import and at
    first use, whatever ``TF_CPP_MIN_LOG_LEVEL`` says. Exceptions pass through as ever.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


class Signals:
    """Ctrl-C and SIGTERM raise `Stopped` in this context; a second one ends the program at once.

    In another thread than the main one, and for signals that were ignored before, nothing
    changes.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, object] = {}
        self._is_postponed = False
        self._stopped: Stopped | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _EXIT_CODES:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:
                    self._before[number] = before or signal.SIG_DFL
                    signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    @contextlib.contextmanager
    def postponed(self) -> Iterator[None]:
        """Let the body happen whole: a signal that comes meanwhile ends the program after it."""
        self._is_postponed = True
        try:
            yield
        finally:
            self._is_postponed = False
        if self._stopped is not None:
            raise self._stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        with _blocked({*self._before}):  # one between would be reported as a race
            for known in self._before:
                signal.signal(known, signal.SIG_DFL)
        stopped = Stopped(_EXIT_CODES[signal.Signals(number)])
        if not self._is_postponed:
            raise stopped  # not kept: its traceback would hold on to all that it went through
        self._stopped = stopped


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
