"""Soak a microphone on a private sound server, which hears the demo voice all the time.

``python tests/tools/session.py --minutes 60 --report FILE.md``

A private PulseAudio server plays the voice into its own microphone, at 48 kHz. The options, the
report and the exit codes are those of ``python tests/tools/soak``.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import soundfile

from helpers.sound_server import SoundServer
from ser_live.testing import demo_voice
from tools.soak.__main__ import main as soak

RATE_HZ = 48000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the soak where the sound server is, and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    with tempfile.TemporaryDirectory() as folder, SoundServer(Path(folder)) as server:
        voice_path, is_over = Path(folder) / "voice.wav", threading.Event()
        soundfile.write(voice_path, demo_voice(RATE_HZ), RATE_HZ, subtype="PCM_16")

        def speak() -> None:
            while not is_over.wait(0.1):  # as often if the server has died
                server.play(voice_path).wait()

        speaker = threading.Thread(target=speak)
        speaker.start()
        try:
            with mock.patch.dict(os.environ, server.environment):
                return soak(["--device", "pulse", *words], "session.py")
        finally:
            is_over.set()
            server.stop()  # which ends the player, too
            speaker.join()


if __name__ == "__main__":
    sys.exit(main())
