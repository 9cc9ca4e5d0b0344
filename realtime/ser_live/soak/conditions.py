"""What the figures of a soak depend on."""

import os
import platform
from dataclasses import dataclass

import numpy as np
import onnxruntime

from ser_live import __version__
from ser_live.classifier import OnnxClassifier
from ser_live.measurement import _processor


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


def conditions(model: OnnxClassifier) -> Conditions:
    """Look them up."""
    return Conditions(
        ser_live=__version__,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        numpy=np.__version__,
        onnxruntime=onnxruntime.__version__,
        model=model.card.name,
    )
