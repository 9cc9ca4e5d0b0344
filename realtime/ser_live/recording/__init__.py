"""Sessions on disk: what a source delivered, kept exactly, and delivered again.

A recording is a WAV file of 32-bit floats, and beside it ``FILE.wav.jsonl``: how it was made,
then every block that is not as long as the one before it or that follows missing frames, and
every notice, each with its frame.
"""

from ser_live.recording.recorder import Recorder
from ser_live.recording.replay import ReplaySource
from ser_live.recording.sidecar import Session

__all__ = ["Recorder", "ReplaySource", "Session"]
