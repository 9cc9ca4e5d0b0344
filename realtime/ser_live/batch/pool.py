"""Several workers at work, each in a process of its own."""

import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Unpack, cast

from ser_live.batch.walking import Paths, find_files
from ser_live.batch.worker import FileResult, Worker
from ser_live.engine.utterances import UtteranceChoice
from ser_live.errors import SerError
from ser_live.hardware import usable_processors
from ser_live.interpreter import interpreter, interpreter_environment
from ser_live.live.listener import ListenOptions

_LOOK_SECONDS = 0.5
_END_SECONDS = 2.0
_Arrived = queue.SimpleQueue[tuple["_Process", "FileResult | SerError | None"]]


def recognize_files(
    paths: Paths,
    *,
    jobs: int | None = None,
    patterns: Sequence[str] = (),
    utterances: UtteranceChoice = False,
    **options: Unpack[ListenOptions],
) -> Generator[FileResult, None, None]:
    """Recognize emotion in many recordings, each once, and give each when it is ready.

    Parameters
    ----------
    paths : path or iterable of path
        Files, and folders that are walked for audio.
    jobs : int or None
        Recordings at once, each in a process of its own; 1: in this one; None: one for each
        processor.
    patterns : sequence of str
        Names of files to take from folders, like ``*.wav``; none: those of audio and video.
    utterances, **options
        Those of `ser_live.recognize_file`.

    Returns
    -------
    iterator of FileResult
        With ``recognition``, or with the ``error`` of a file that has none. Its end, also an early
        one, ends the processes.

    Raises
    ------
    SerError
        If the model cannot be read or an option is of no use.

    Examples
    --------
    >>> from ser_live import recognize_files
    >>> for done in recognize_files(["missing.wav", "talk.wav"], jobs=1):
    ...     print(f"{done.path}: {done.error or done.recognition.audio_seconds}")
    missing.wav: cannot read it (No such file or directory)
    talk.wav: 4.0
    """
    return run(Worker(utterances=utterances, **options), find_files(paths, patterns), jobs)


def run(
    worker: Worker, paths: Sequence[str], jobs: int | None = None
) -> Generator[FileResult, None, None]:
    """Have a worker, or copies of it in several processes, recognize files; see `recognize_files`.

    Raises
    ------
    SerError
        For options of no use, and if a process cannot be started.
    """
    worker.classifier  # noqa: B018 - it is loaded, or what is wrong is told, before the work begins
    jobs = min(number_of_jobs(jobs), len(paths))
    return _in_processes(worker, paths, jobs) if jobs > 1 else (worker(path) for path in paths)


def number_of_jobs(jobs: int | None) -> int:
    """Return the number of jobs that are meant; SerError if there is no such number."""
    if jobs is None:
        return usable_processors() if interpreter() else 1
    if not isinstance(jobs, int) or jobs < 1:
        raise SerError(f"jobs is {jobs!r}, wanted 1 or more")
    if jobs > 1 and not interpreter():
        raise SerError("this program is no Python that can start processes; wanted jobs=1")
    return jobs


def _in_processes(
    worker: Worker, paths: Sequence[str], jobs: int
) -> Generator[FileResult, None, None]:
    try:
        pickled = pickle.dumps(worker)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise SerError(
            f"the options cannot go to other processes ({error}); give the model by its name or "
            "path, or jobs=1"
        ) from error
    arrived: _Arrived = queue.SimpleQueue()
    left = iter(paths)
    processes: set[_Process] = set()
    try:
        for path in islice(left, jobs):
            processes.add(_Process(pickled, path, arrived))
        while processes:
            try:  # Windows lets no Ctrl-C through to one that waits without an end
                process, answer = arrived.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if process not in processes:
                continue
            if isinstance(answer, SerError):
                raise answer
            next_path = next(left, None)
            if answer is None:
                processes.remove(process)
                answer = FileResult(process.path, error=f"its process ended ({process.end()})")
                if next_path is not None:
                    processes.add(_Process(pickled, next_path, arrived))
            elif next_path is not None:
                process.send(next_path)
            else:
                processes.remove(process)
                process.close()
            yield answer
    finally:
        for process in processes:
            process.close()


class _Process:
    """Process of a worker at its first file, from the side of its parent."""

    def __init__(self, pickled_worker: bytes, path: str, arrived: _Arrived) -> None:
        python = interpreter() or sys.executable
        # A group of its own: Ctrl-C on the terminal is for the parent alone, which ends it. Unlike
        # one of multiprocessing, it does not begin by running the parent's program again.
        self._process = subprocess.Popen(
            [python, "-P", "-m", "ser_live.batch.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=interpreter_environment(),
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        threading.Thread(target=self._read, args=(arrived,), daemon=True).start()
        self._write(pickled_worker)
        self.send(path)

    def send(self, path: str) -> None:
        """Give it the next file."""
        self.path = path
        self._write(pickle.dumps(path))

    def end(self) -> str:
        """Wait for its end, which came by itself, and return a few words on it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self.close()
        return (signal.strsignal(-code) or f"signal {-code}") if code < 0 else f"exit code {code}"

    def close(self) -> int:
        """End it and return its exit code."""
        self._process.kill()
        with suppress(OSError), self._process:
            pass
        return self._process.wait()

    def _write(self, data: bytes) -> None:
        stdin = cast(IO[bytes], self._process.stdin)
        with suppress(OSError):  # it has ended, as the thread that reads will tell
            stdin.write(data)
            stdin.flush()

    def _read(self, arrived: _Arrived) -> None:
        stdout = cast(IO[bytes], self._process.stdout)
        end: SerError | None = SerError("a process did not start; try one job")
        with suppress(OSError, ValueError, EOFError, pickle.UnpicklingError):
            while answer := pickle.load(stdout):
                if isinstance(answer, tuple):  # its labels: it is ready
                    end = None
                else:
                    arrived.put((self, answer))
        arrived.put((self, end))
