"""Workers for tests of batches: one whose process dies, one that counts."""

import os
import signal

from ser_live.batch import FileResult, Worker


class DyingWorker(Worker):
    """A worker whose process dies at files of some name."""

    def __call__(self, path: str) -> FileResult:
        if "deadly" in path:
            os.kill(os.getpid(), signal.SIGKILL)
        if "leaving" in path:
            os._exit(3)
        return super().__call__(path)
