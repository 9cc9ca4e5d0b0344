"""The page of ser-serve in a real browser: a microphone, and servers that come and go."""

import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from helpers import serving
from ser_live.sources import DEMO_PATH

pytest.importorskip("selenium")

from selenium.webdriver import Keys

from helpers import browser
from helpers.browser import of_type

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.is_installed(), reason="chromium is not installed"),
]

Open = Callable[..., browser.Browser]
TOKEN = "open-sesame-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server() as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open browsers that end with the test."""
    windows: list[browser.Browser] = []

    def open_(url: str, microphone: Path | None = None, **options: Any) -> browser.Browser:
        folder = tmp_path / f"browser{len(windows)}"
        windows.append(browser.Browser(folder, microphone, **options))
        windows[-1].get(url)
        return windows[-1]

    yield open_
    for window in windows:
        complaints = window.complaints()
        window.quit()
        assert not complaints


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as a microphone of Chromium wants it."""
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="float32")
    path = tmp_path_factory.mktemp("voice") / "demo.wav"
    soundfile.write(path, soxr.resample(samples, rate_hz, 48000), 48000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def steady_voice(voice: Path) -> Path:
    """Three utterances of one sure label each, wherever in them the hops begin."""
    samples, rate_hz = soundfile.read(voice, dtype="int16")
    first, third = samples[: 19 * rate_hz // 4], samples[19 * rate_hz // 2 : 57 * rate_hz // 4]
    path = voice.with_name("steady.wav")
    soundfile.write(path, np.concatenate((first, third, first)), rate_hz, subtype="PCM_16")
    return path


WATCH_WORDS = """
    window.seen = [];
    window.spoken = [];
    const watch = (id, list) =>
        new MutationObserver(() => list.push([document.getElementById(id).textContent, Date.now()]))
            .observe(document.getElementById(id), { childList: true });
    watch("emotion", window.seen);
    watch("spoken", window.spoken);
"""


def test_a_microphone_gives_the_labels_that_the_file_gives(
    server: serving.Server, opened: Open, steady_voice: Path
) -> None:
    wanted = server.recognized(steady_voice.read_bytes())
    labels = [segment["label"] for segment in wanted["segments"]]
    assert len(labels) >= 3
    page = opened(server.url, steady_voice)
    page.run(WATCH_WORDS)
    page.click("#start")

    def words(of: str) -> list[str]:
        """Words that were shown or spoken, without the guesses, each once in a row."""
        told = (words.partition(" ")[0] for words, _ in page.run(f"return window.{of}"))
        return [word for word, _ in groupby(word for word in told if word in (*labels, "silence"))]

    def emotions() -> list[str]:
        return [word for word in words("seen") if word != "silence"]

    page.wait(lambda: len(emotions()) == len(labels), "last emotion")
    page.wait(lambda: words("seen")[-1:] == words("spoken")[-1:] == ["silence"], "end of the voice")
    assert page.find("#start").text == "Stop"
    page.press_start("#emotion", "stopped")
    assert emotions() == labels
    records = page.records()
    segments = of_type(records, "segment")
    assert [segment["label"] for segment in segments] == labels
    # The hops of a microphone begin anywhere in the file: two of them are the difference.
    first_seconds = segments[0]["start_seconds"] - wanted["segments"][0]["start_seconds"]
    for segment, known in zip(segments, wanted["segments"], strict=True):
        assert segment["start_seconds"] - first_seconds == pytest.approx(
            known["start_seconds"], abs=0.5
        )
        assert segment["end_seconds"] - first_seconds == pytest.approx(
            known["end_seconds"], abs=0.5
        )
    figures = page.text("#figures")
    assert figures.count("ms") == 4  # middle and p95 of the lag and of the round trip
    # A screen reader is not talked over: a word that is gone before its turn is left out.
    spoken = page.run("return window.spoken")
    pauses = [later - earlier for (_, earlier), (_, later) in pairwise(spoken)]
    assert min(pauses) > 2000
    assert set(words("spoken")) & set(labels)
    shown = iter(words("seen"))
    assert all(word in shown for word in words("spoken"))  # in the order in which they came


def test_a_server_that_goes_and_comes_back_leaves_a_gap(opened: Open, voice: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving.process("--port", port, ends_well=False) as first:
        page = opened(first.url, voice)
        page.press_start("#now", "% sure")
        first.process.kill()
        page.wait_for("#status", "server away")
        page.wait_for("#trouble", "The server does not answer")
        assert page.text("#emotion") == "not connected"
    with serving.process("--port", port, "--drain-seconds", 600, ends_well=False) as second:
        page.wait_for("#status", "listening to")
        page.wait_for("#now", "Now")
        assert page.find("#trouble").is_displayed() is False
        last = page.records()[-1]
        page.wait(lambda: page.records()[-1] != last, "further predictions")
        page.run(  # notices that pass do so at once
            """const wait = window.setTimeout.bind(window);
            window.setTimeout = (then, time, ...given) =>
                wait(then, time === 15000 ? 0 : time, ...given);"""
        )
        second.terminate()
        page.wait_for("#notice", "going to stop")
        last = page.records()[-1]
        page.wait(lambda: page.records()[-1] != last, "predictions while it drains")
        assert "going to stop" in page.text("#notice")
        second.terminate()  # the second signal ends it at once
        page.wait_for("#status", "server away")
        assert not page.text("#notice")
        page.press_start("#status", "ready")  # from here on the timeline stands still
        assert "Reconnecting" not in page.text("#trouble")
        assert "Stopped while the server was away" in page.text("#trouble")
        page.find("#timeline").send_keys(Keys.END)
        assert page.text("#emotion") == "missing audio"
        page.click("#all")
        gap = next(record for record in page.records() if record["type"] == "event")
        assert gap["event"] == "gap"
        assert "the server was away" in gap["detail"]
        assert page.text("#lost") != "0.0 s"
        parts = groupby(np.arange(0.02, 1.0, 0.02), page.what_is_at)
        first_gap = next(list(places) for said, places in parts if said == "missing audio")
        missing = first_gap[1:-1]  # without its edges, where an emotion begins or ends
        assert missing
        tints = {max(color) - min(color) for x in missing for color in page.colors_at(x, 0.25)}
        assert max(tints) < 40  # no colour of an emotion
        assert len(page.colors_at(missing[len(missing) // 2], 0.25)) > 2  # lines, not emptiness
        ends = [record["end_seconds"] for record in page.records() if "index" in record]
        assert ends == sorted(ends)  # one clock over both streams


def test_results_go_only_if_one_lets_them(
    server: serving.Server, opened: Open, voice: Path
) -> None:
    page = opened(server.url, voice)
    leave = (
        "const leaving = new Event('beforeunload', { cancelable: true });"
        "dispatchEvent(leaving); return leaving.defaultPrevented"
    )
    assert not page.run(leave)
    page.press_start("#now", "% sure")
    page.choose(DEMO_PATH, "#ask", "not exported")
    page.click("#ask button[value='']")
    assert page.text("#status").startswith("listening to")  # all goes on
    assert page.run(leave)
    page.press_start("#emotion", "stopped")
    page.click("#start")
    page.wait_for("#ask", "not exported")
    page.press(Keys.ESCAPE)
    assert page.find("#start").text == "Start listening"
    assert of_type(page.records(), "segment")  # an export: they are safe now
    assert not page.run(leave)
    page.choose(DEMO_PATH, "#recording", "demo.ogg, 0:20")


def test_a_muted_microphone_is_told_in_words(
    server: serving.Server, opened: Open, tmp_path: Path
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(48000, np.int16), 48000, subtype="PCM_16")
    page = opened(server.url, silence)
    page.press_start("#notice", "no signal at all")
    page.press_start("#emotion", "stopped")
    assert page.text("#notice") == ""


def test_a_microphone_can_be_chosen_and_may_go(
    server: serving.Server, opened: Open, voice: Path
) -> None:
    page = opened(server.url, voice)
    page.run(
        """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => (window.heard = await ask(wanted))
        """
    )
    page.press_start("#microphone", "Fake Audio Input 2")  # they have names now
    page.press_start("#emotion", "stopped")
    page.find("#microphone").send_keys("Fake Audio Input 2")
    page.press_start("#status", "listening to Fake Audio Input 2")
    page.wait_for("#now", "% sure")
    page.run("window.heard.getTracks()[0].dispatchEvent(new Event('ended'))")  # as when unplugged
    page.wait_for("#trouble", "Fake Audio Input 2 was disconnected")
    page.wait_for("#emotion", "stopped")
    assert of_type(page.records(), "segment")  # what was heard before is answered


def test_a_server_that_stands_still_is_not_taken_for_silence(opened: Open, voice: Path) -> None:
    with serving.process() as halted:
        page = opened("about:blank", voice)
        page.hurry()
        page.get(halted.url)
        page.press_start("#now", "% sure")
        halted.process.send_signal(signal.SIGSTOP)
        try:
            page.wait_for("#emotion", "waiting…")
            page.press_start("#trouble", "did not send its last results")
        finally:
            halted.process.send_signal(signal.SIGCONT)
        page.press_start("#status", "listening to")


def test_a_server_that_went_before_the_start_is_told_in_words(opened: Open, voice: Path) -> None:
    with serving.server() as short:
        page = opened(short.url, voice)
        page.wait_for("#bars", "neutral")
    page.press_start("#trouble", "The server does not answer")
    assert page.find("#start").text == "Start listening"
    page.choose(DEMO_PATH, "#trouble", "demo.ogg: The server does not answer")


def test_a_refused_microphone_is_told_in_words(
    server: serving.Server, opened: Open, voice: Path
) -> None:
    page = opened(server.url, voice, is_asked=True)
    page.command("Browser.setPermission", permission={"name": "microphone"}, setting="denied")
    page.press_start("#trouble", "does not let this page use the microphone")
    assert page.find("#trouble").get_attribute("role") == "alert"
    assert page.find("#start").text == "Start listening"


def test_a_page_that_is_not_secure_says_why_there_is_no_microphone(
    opened: Open, voice: Path
) -> None:
    with serving.server("--allow-host", "voice.test") as named:
        rules = "--host-resolver-rules=MAP voice.test 127.0.0.1"
        page = opened(f"http://voice.test:{named.port}/", voice, flags=(rules,))
        page.press_start("#trouble", "only to secure pages")
        page.choose(DEMO_PATH, "#recording", "demo.ogg, 0:20")  # needs no microphone


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_by_https_the_microphone_works_from_elsewhere(
    opened: Open, voice: Path, tmp_path: Path
) -> None:
    certificate, key = serving.certificate(tmp_path, "voice.test")
    options = ("--certificate", certificate, "--key", key, "--allow-host", "voice.test")
    with serving.server(*options) as safe:
        rules = "--host-resolver-rules=MAP voice.test 127.0.0.1"
        flags = (rules, "--ignore-certificate-errors")  # no authority has signed this one
        page = opened(f"https://voice.test:{safe.port}/", voice, flags=flags)
        page.press_start("#now", "% sure")


def test_a_token_is_asked_for_and_kept_out_of_the_address(opened: Open, voice: Path) -> None:
    with serving.server("--token", TOKEN) as guarded:
        page = opened(guarded.url, voice)
        page.press_start("#trouble", "The server requires a token")
        page.find("#token").send_keys("not-this-one-0123456789")
        page.click("#token-form button")
        page.press_start("#trouble", "does not accept this token")
        page.find("#token").send_keys("“copied (with quotes)”")  # no header or stream can carry it
        page.click("#token-form button")
        page.press_start("#trouble", "does not accept this token")
        page.get("about:blank")
        page.get(f"{guarded.url}/#token={TOKEN}")
        assert TOKEN not in page.current_url
        page.press_start("#status", "listening to")
        page.press_start("#emotion", "stopped")
        page.get(guarded.url)  # the tab knows it still
        page.choose(DEMO_PATH, "#recording", "demo.ogg, 0:20")


def test_a_full_server_is_told_and_tried_again(opened: Open, voice: Path) -> None:
    with serving.server("--max-streams", 1) as small:
        first = opened(small.url, voice)
        first.press_start("#status", "listening to")
        second = opened(small.url, voice)
        second.press_start("#trouble", "1 of 1 streams are open")
        first.press_start("#emotion", "stopped")
        second.wait_for("#status", "listening to")
        assert second.find("#trouble").is_displayed() is False
