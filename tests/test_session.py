"""Minutes of a real microphone, in processes of their own."""

from pathlib import Path

import pytest

import measure_session
import sound_server

pytestmark = pytest.mark.long

MINUTES = 3.0


def test_minutes_of_speech_cost_nothing_but_time(tmp_path: Path) -> None:
    if not sound_server.is_installed():
        pytest.skip("pulseaudio is not installed")
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc to look into")
    figures = measure_session.measured(tmp_path, MINUTES)
    assert figures.dropped_frames == figures.restarts == 0
    assert figures.missing_seconds == 0.0
    assert figures.captured_frames > (60 * MINUTES - 5) * measure_session.RATE_HZ
    assert figures.predictions > (60 * MINUTES - 5) / 0.25
    assert figures.with_speech > figures.predictions / 4
    assert 0.0 <= figures.timeline_error_seconds < 0.5
    assert figures.threads[0] == figures.threads[1]
    assert figures.engine_growth_mib < 8.0
    assert figures.capture_growth_mib < 4.0
