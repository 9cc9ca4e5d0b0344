"""Many recordings at once: on several processes, into a table, and on again after an interruption.

A `Worker` recognizes one file after another; `run` has several of them at work. A `TableWorker`
turns tables of paths into tables of rows, on an engine that has machines of its own. `find_files`
gives the recordings of folders.
"""

from ser_live.batch.pool import number_of_jobs, recognize_files, run
from ser_live.batch.table_worker import TableWorker
from ser_live.batch.walking import find_files
from ser_live.batch.worker import FileResult, Worker

__all__ = [
    "FileResult",
    "TableWorker",
    "Worker",
    "find_files",
    "number_of_jobs",
    "recognize_files",
    "run",
]
