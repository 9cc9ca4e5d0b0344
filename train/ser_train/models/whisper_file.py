"""The published weights of Whisper tiny.en's encoder, read from a ``.safetensors`` file."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.text import sanitize

LICENCE = "MIT"
NAME = "openai/whisper-tiny.en, encoder"
_PREFIX = "model.encoder."
