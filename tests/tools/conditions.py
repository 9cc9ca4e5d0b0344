"""What the figures of a long run depend on."""

import os
import platform
from dataclasses import dataclass

import numpy as np
import onnxruntime

from ser_live import __version__
from ser_live.bench.measurement import processor_name


@dataclass(frozen=True, slots=True)
class Conditions:
    """Machine, versions and model."""

    ser_live: str
    machine: str
    processor: str
    cores: int
    python: str
    numpy: str
    onnxruntime: str
    model: str


def conditions(model_name: str) -> Conditions:
    """Look them up.

    Parameters
    ----------
    model_name : str
        Of the model that is used.
    """
    return Conditions(
        ser_live=__version__,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=onnxruntime.__version__,
        model=model_name,
    )
