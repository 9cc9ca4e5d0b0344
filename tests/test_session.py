"""Minutes of a real microphone, in processes of their own."""

from pathlib import Path

import pytest

import sound_server
from tools.session import RATE_HZ, measure_session


@pytest.mark.parametrize(
    "minutes",
    [
        pytest.param(0.3, marks=pytest.mark.integration, id="short"),
        pytest.param(3.0, marks=pytest.mark.long, id="long"),
    ],
)
def test_minutes_of_speech_cost_nothing_but_time(tmp_path: Path, minutes: float) -> None:
    if not sound_server.is_installed():
        pytest.skip("pulseaudio is not installed")
    report = measure_session(tmp_path, minutes)
    is_settled = minutes > 1.0  # before, memory that stays is still being taken
    seconds = 60.0 * minutes - (5.0 if is_settled else 9.0)
    assert report["frames dropped"] == report["restarts"] == 0
    assert report["missing on the timeline"] == 0.0
    assert report["frames captured"] > seconds * RATE_HZ
    assert report["predictions"] > seconds / 0.25
    assert report["of these with an emotion"] > report["predictions"] / 4
    assert 0.0 <= report["samples captured after the last prediction"] < 0.5
    threads = report["threads of the engine, then and at the end"]
    assert threads[0] == threads[1]
    for process, most_mib in (("engine", 8.0), ("capture", 4.0)) if is_settled else ():
        before, after = report[f"memory, {process}, after the first minute and at the end"]
        assert after - before < most_mib
