"""Process of a worker: ``python -m ser_live.batch.worker_process``.

`ser_live.batch.pool` starts it. A pickled worker comes first on stdin, then one path after another;
on stdout go its labels once it is ready, or the SerError why it is not, and a result for each path.
It ends with stdin, also in the middle of a file, so it never outlives its parent.
"""

import os
import pickle
import queue
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from ser_live.errors import SerError


def main() -> None:
    """Run the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    # The pipe is for results alone: what native libraries print to stdout must not get into it.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    worker = orders.get()
    try:
        answer = worker.classifier.card.labels
    except SerError as error:
        answer = error
    while True:
        pickle.dump(answer, pipe)
        pipe.flush()
        answer = worker(orders.get())


def _read(orders: "queue.SimpleQueue[Any]") -> None:
    with suppress(EOFError):
        while True:
            orders.put(pickle.load(sys.stdin.buffer))
    os._exit(0)


if __name__ == "__main__":
    main()
