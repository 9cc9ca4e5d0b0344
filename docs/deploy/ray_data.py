"""Recognize an archive on Ray: ``python ray_data.py FOLDER_OR_PARQUET_OF_PATHS TABLE [WORKERS]``.

Every machine must see the recordings under the same paths. See docs/scale-out.md.
"""

import sys

import pyarrow.parquet
import ray

from ser_live.batch import TableWorker, find_files

source, table, workers = (*sys.argv[1:], "2")[:3]
if source.endswith(".parquet"):
    paths = pyarrow.parquet.read_table(source, columns=["path"]).to_pylist()
else:
    paths = [{"path": path} for path in find_files(source)]
# A block is done by one worker, and again from its start where that is killed.
blocks = ray.data.from_items(paths, override_num_blocks=1 + min(len(paths) // 8, 10_000))
rows = blocks.map_batches(
    TableWorker,
    fn_constructor_kwargs={"kind": "summary"},  # with "model", "use_channels" ... beside it
    compute=ray.data.ActorPoolStrategy(size=int(workers)),
    num_cpus=1,  # of a worker, which recognizes on one thread
    batch_size=8,
)
# A write starts a process for itself. The workers may hold all processors: it must ask for none.
rows.write_parquet(table, min_rows_per_file=1000, ray_remote_args={"num_cpus": 0})
