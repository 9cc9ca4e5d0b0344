"""Many recordings at once: on several processes, into a table, and on again after an interruption.

A `Worker` recognizes one file after another; `run` has several of them at work.
"""

from ser_live.batch.pool import number_of_jobs, recognize_files, run
from ser_live.batch.worker import FileResult, Worker

__all__ = ["FileResult", "Worker", "number_of_jobs", "recognize_files", "run"]
