"""The page of ser-serve in a real browser: what it shows is what the server says."""

import csv
import io
import json
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

import serving
from ser_live import Prediction
from ser_live.engine.segments import Segment
from ser_live.output.formats import AudacityLabels, CsvTable
from ser_live.sources import DEMO_PATH

pytest.importorskip("selenium")
from selenium.webdriver import Keys

import browser

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.is_installed(), reason="chromium is not installed"),
]

Open = Callable[..., browser.Browser]
TAB, ENTER, HOME, END, RIGHT = Keys.TAB, Keys.ENTER, Keys.HOME, Keys.END, Keys.RIGHT
TOKEN = "open-sesame-0123456789"
CLOCKED = ("lag_seconds", "timing")


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
        windows[-1].open(url)
        return windows[-1]

    yield open_
    for window in windows:
        complaints = window.complaints()
        window.driver.quit()
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
    """Three utterances, the last cut short: one sure label wherever in them the hops begin."""
    samples, rate_hz = soundfile.read(voice, dtype="int16")
    samples = samples[: 14 * rate_hz]
    samples[12 * rate_hz :] = 0
    path = voice.with_name("steady.wav")
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return path


def offline(server: serving.Server, file: Path) -> dict[str, Any]:
    """What the server says of a whole recording."""
    request = urllib.request.Request(f"{server.url}/v1/recognize", file.read_bytes())
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def of_type(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Records of a type, without it and without what a clock measured."""
    return [
        {name: value for name, value in record.items() if name not in ("type", *CLOCKED)}
        for record in records
        if record["type"] == kind
    ]


def unclocked(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{n: value for n, value in record.items() if n not in CLOCKED} for record in records]


def is_free_of_overflow(page: browser.Browser) -> bool:
    return bool(page.run("return document.documentElement.scrollWidth <= innerWidth"))


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
    page = opened(server.url, steady_voice)
    page.run(WATCH_WORDS)
    page.click("#start")
    page.wait_for("#status", "listening to")
    wanted = offline(server, steady_voice)
    labels = [segment["label"] for segment in wanted["segments"]]
    assert len(labels) >= 3
    told = {*labels, "silence", "uncertain"}

    def shown() -> list[str]:
        seen = [word for word, _ in page.run("return window.seen")]
        return [word for word, _ in groupby(word for word in seen if word in told)]

    def emotions() -> list[str]:
        return [word for word in shown() if word != "silence"]

    page.wait(lambda: len(emotions()) == len(labels), "last emotion")
    page.wait(lambda: shown()[-1] == "silence", "end of the voice")
    assert page.find("#start").text == "Stop"
    page.click("#start")
    page.wait_for("#emotion", "stopped")
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
    spoken = page.run("return window.spoken")
    assert {word.split()[0] for word, _ in spoken} >= set(labels)
    pauses = [later - earlier for (_, earlier), (_, later) in pairwise(spoken)]
    assert min(pauses) > 2000  # a screen reader is not talked over


def test_a_server_that_goes_and_comes_back_leaves_a_gap(opened: Open, voice: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving.server("--port", port, ends_well=False) as first:
        page = opened(first.url, voice)
        page.click("#start")
        page.wait_for("#now", "% sure")
        first.process.kill()
        page.wait_for("#status", "server away")
        page.wait_for("#trouble", "The server does not answer")
        assert page.text("#emotion") == "no connection"
    with serving.server("--port", port) as second:
        page.wait_for("#status", "listening to")
        page.wait_for("#now", "Now")
        assert page.find("#trouble").is_displayed() is False
        last = page.records()[-1]
        page.wait(lambda: page.records()[-1] != last, "further predictions")
        second.terminate()
        page.wait_for("#status", "server away")
        page.click("#start")
        page.wait_for("#status", "ready")  # from here on the timeline stands still
        page.click("#all")
        gap = next(record for record in page.records() if record["type"] == "event")
        assert gap["event"] == "gap"
        assert "the server was away" in gap["detail"]
        assert page.text("#lost") != "0.0 s"
        parts = groupby(np.arange(0.02, 1.0, 0.02), lambda x: what_is_at(page, x))
        first_gap = next(list(places) for said, places in parts if said == "missing audio")
        missing = first_gap[1:-1]  # without its edges, where an emotion begins or ends
        assert missing
        tints = {max(color) - min(color) for x in missing for color in colors_at(page, x, 0.25)}
        assert max(tints) < 40  # no colour of an emotion
        assert len(colors_at(page, missing[len(missing) // 2], 0.25)) > 2  # lines, not emptiness
        ends = [record["end_seconds"] for record in page.records() if "index" in record]
        assert ends == sorted(ends)  # one clock over both streams


def test_a_muted_microphone_is_told_in_words(
    server: serving.Server, opened: Open, tmp_path: Path
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(48000, np.int16), 48000, subtype="PCM_16")
    page = opened(server.url, silence)
    page.click("#start")
    page.wait_for("#notice", "no signal at all")
    page.click("#start")
    page.wait_for("#emotion", "stopped")
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
    page.click("#start")
    page.wait_for("#microphone", "Fake Audio Input 2")  # they have names now
    page.click("#start")
    page.wait_for("#emotion", "stopped")
    page.find("#microphone").send_keys("Fake Audio Input 2")
    page.click("#start")
    page.wait_for("#status", "listening to Fake Audio Input 2")
    page.wait_for("#now", "% sure")
    page.run("window.heard.getTracks()[0].dispatchEvent(new Event('ended'))")  # as when unplugged
    page.wait_for("#trouble", "Fake Audio Input 2 was disconnected")
    page.wait_for("#emotion", "stopped")
    assert of_type(page.records(), "segment")  # what was heard before is answered


def test_a_server_that_stands_still_is_not_taken_for_silence(opened: Open, voice: Path) -> None:
    with serving.server() as halted:
        page = opened(halted.url, voice)
        page.click("#start")
        page.wait_for("#now", "% sure")
        halted.process.send_signal(signal.SIGSTOP)
        try:
            page.wait_for("#emotion", "waiting…")
            page.click("#start")
            page.wait_for("#trouble", "did not send its last results")
        finally:
            halted.process.send_signal(signal.SIGCONT)
        page.click("#start")
        page.wait_for("#status", "listening to")


def test_a_server_that_went_before_the_start_is_told_in_words(opened: Open, voice: Path) -> None:
    with serving.server() as short:
        page = opened(short.url, voice)
        page.wait_for("#bars", "neutral")
    page.click("#start")
    page.wait_for("#trouble", "The server does not answer")
    assert page.find("#start").text == "Start listening"
    page.choose(DEMO_PATH)
    page.wait_for("#trouble", "demo.ogg: The server does not answer")


def what_is_at(page: browser.Browser, x: float) -> str:
    """What the page says of a place in the timeline; 0 is its left, 1 its right."""
    page.run(
        """const canvas = document.getElementById("timeline");
        const { left, width, top } = canvas.getBoundingClientRect();
        const at = { clientX: left + arguments[0] * width, clientY: top + 50, pointerId: 1 };
        canvas.setPointerCapture = () => {};  // of a pointer that only this script knows
        for (const type of ["pointerdown", "pointerup"])
            canvas.dispatchEvent(new PointerEvent(type, at));""",
        x,
    )
    return page.text("#emotion")


def colors_at(page: browser.Browser, x: float, y: float) -> set[tuple[int, int, int]]:
    """Colours of a small square of the timeline, on the card; y 0 is its top, 1 its bottom."""
    values = page.run(
        """const canvas = document.getElementById("timeline");
        const flat = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
        flat.fillStyle = getComputedStyle(canvas.closest(".card")).backgroundColor;
        flat.fillRect(0, 0, canvas.width, canvas.height);
        flat.drawImage(canvas, 0, 0);
        const [left, top] = [canvas.width * arguments[0], canvas.height * arguments[1]];
        return [...flat.getImageData(left - 4, top - 4, 8, 8).data];""",
        x,
        y,
    )
    return {(red, green, blue) for red, green, blue, _ in np.array(values).reshape(-1, 4).tolist()}


def drop(page: browser.Browser, file: Path) -> None:
    """Drop a file on the page as a hand does."""
    page.run("document.body.insertAdjacentHTML('beforeend', '<input type=file id=hand>')")
    page.find("#hand").send_keys(str(file))
    page.run(
        """const hand = document.getElementById("hand");
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(hand.files[0]);
        hand.remove();
        for (const type of ["dragenter", "dragover", "drop"])
            document.body.dispatchEvent(
                new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));"""
    )


def test_a_dropped_file_is_what_the_server_says_of_it(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    wanted = offline(server, DEMO_PATH)
    drop(page, DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, 0:20, 22.05 kHz")
    records = page.records()
    assert of_type(records, "prediction") == unclocked(wanted["predictions"])
    assert of_type(records, "segment") == wanted["segments"]
    rows = page.run(
        "document.getElementById('segments').open = true;"
        "return [...document.getElementById('rows').rows].map((row) => row.cells[2].textContent)"
    )
    assert rows[::-1] == [segment["label"] for segment in wanted["segments"]]
    for segment in wanted["segments"]:
        last = (segment["end_seconds"] - 0.1) / wanted["seconds"]  # the first of it may warm up
        said = what_is_at(page, last)
        if segment["label"] == "uncertain":
            assert said.endswith("?")  # the best guess
            continue
        assert said == segment["label"]
        page.click("#follow") if page.find("#follow").is_displayed() else None
        ink = page.run(
            "const place = document.createElement('i'); place.dataset.tone = arguments[0];"
            "place.style.color = 'var(--fill)'; document.body.append(place);"
            "const color = getComputedStyle(place).color; place.remove(); return color",
            segment["label"],
        )
        red, green, blue = (int(value) for value in ink[4:-1].split(","))
        assert (red, green, blue) in colors_at(page, last - 0.005, 0.89)


def test_the_exports_are_those_of_the_command_line(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    told = offline(server, DEMO_PATH)
    predictions = [Prediction(**{**one, "timing": None}) for one in told["predictions"]]
    track = AudacityLabels()
    wanted_track = "".join(track.text(Segment(**one)) for one in told["segments"])
    assert page.save("audacity", ".txt") == wanted_track
    labels = next(one.probabilities for one in predictions if one.probabilities)
    table = CsvTable(tuple(labels))
    wanted = table.head() + "".join(table.text(one) for one in predictions)
    assert numbers(page.save("csv", ".csv")) == numbers(wanted)


def numbers(table: str) -> list[list[str | float]]:
    """Fields of a CSV table; Python writes 1.0 where JavaScript writes 1."""
    rows = csv.reader(io.StringIO(table, newline=""))
    return [[float(f) if f.replace(".", "").isdigit() else f for f in row] for row in rows]


def test_a_file_that_is_played_live_shows_the_same(server: serving.Server, opened: Open) -> None:
    page = opened(server.url, flags=("--autoplay-policy=no-user-gesture-required",))
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    page.click("#play")
    page.wait_for("#status", "listening to demo.ogg")
    page.wait_for("#emotion", "stopped")  # by itself, at its end
    labels = [segment["label"] for segment in of_type(page.records(), "segment")]
    assert labels == [segment["label"] for segment in offline(server, DEMO_PATH)["segments"]]


STREAM = """
    const [url, options, samples, step] = given;
    const { SerStream } = await import("/page/client.js");
    const stream = new SerStream(url, options);
    const heard = { prediction: [], segment: [], event: [], skipped: [], error: [] };
    for (const type of Object.keys(heard))
        stream.addEventListener(type, ({ detail }) => heard[type].push(detail));
    const all = Int16Array.from(samples);
    for (let at = 0; at < all.length; at += step) {
        stream.send(all.subarray(at, at + step));
        if (!options.token) continue;
        await stream.drained();
    }
    const ended = await stream.end();
    return { ...heard, ended, started: stream.started, roundTrip: stream.roundTripSeconds };
"""


def test_the_client_hears_what_the_recording_gives(opened: Open, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="int16")
    samples = samples[: 6 * rate_hz]
    file = tmp_path / "part.wav"
    soundfile.write(file, samples, rate_hz, subtype="PCM_16")
    with serving.server("--token", TOKEN) as guarded:
        page = opened(f"{guarded.url}/#token={TOKEN}")
        options = {"sampleRateHz": rate_hz, "format": "s16le", "token": TOKEN}
        heard = page.run_async(STREAM, guarded.ws_url, options, samples.tolist(), 1000)
        wanted = page.run_async(
            """const [url, token, data] = given;
            const { recognize } = await import("/page/client.js");
            return recognize(url, new Blob([Uint8Array.from(data)]), { token });""",
            f"{guarded.url}/v1/recognize",
            TOKEN,
            list(file.read_bytes()),
        )
    assert heard["ended"]["received_samples"] == len(samples)
    assert heard["error"] == []
    told = [{"type": "prediction", **one} for one in heard["prediction"]]
    for record in told:
        del record["number"]
    assert of_type(told, "prediction") == unclocked(wanted["predictions"])
    assert [segment["label"] for segment in heard["segment"]] == [
        segment["label"] for segment in wanted["segments"]
    ]
    assert 0 <= heard["roundTrip"] < 30


def test_what_the_network_cannot_take_is_skipped_and_told(
    server: serving.Server, opened: Open
) -> None:
    page = opened(server.url)
    rate_hz, seconds = 16000, 20
    noise = np.random.default_rng(1).integers(-9, 9, seconds * rate_hz)
    options = {"sampleRateHz": rate_hz, "format": "s16le"}
    heard = page.run_async(STREAM, server.ws_url, options, noise.tolist(), 1600)
    ended = heard["ended"]
    lost = sum(part["samples"] for part in heard["skipped"])
    assert lost > 0
    assert ended["skipped_samples"] == lost
    assert ended["received_samples"] + lost == len(noise)
    assert [event["event"] for event in heard["event"]].count("gap") == 1
    assert heard["prediction"][-1]["end_seconds"] == pytest.approx(seconds, abs=0.3)


def test_a_refused_microphone_is_told_in_words(
    server: serving.Server, opened: Open, voice: Path
) -> None:
    page = opened(server.url, voice, is_asked=True)
    page.command("Browser.setPermission", permission={"name": "microphone"}, setting="denied")
    page.click("#start")
    page.wait_for("#trouble", "does not let this page use the microphone")
    assert page.find("#trouble").get_attribute("role") == "alert"
    assert page.find("#start").text == "Start listening"


def test_a_missing_microphone_is_told_in_words(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.click("#start")
    page.wait_for("#trouble", "No microphone was found")


def test_a_page_that_is_not_secure_says_why_there_is_no_microphone(
    opened: Open, voice: Path
) -> None:
    with serving.server("--allow-host", "voice.test") as named:
        rules = "--host-resolver-rules=MAP voice.test 127.0.0.1"
        page = opened(f"http://voice.test:{named.port}/", voice, flags=(rules,))
        page.click("#start")
        page.wait_for("#trouble", "only to secure pages")
        page.choose(DEMO_PATH)  # needs no microphone
        page.wait_for("#recording", "demo.ogg, 0:20")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_by_https_the_microphone_works_from_elsewhere(
    opened: Open, voice: Path, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=voice.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    options = ("--certificate", certificate, "--key", key, "--allow-host", "voice.test")
    with serving.server(*options) as safe:
        rules = "--host-resolver-rules=MAP voice.test 127.0.0.1"
        flags = (rules, "--ignore-certificate-errors")  # nobody vouches for this one
        page = opened(f"https://voice.test:{safe.port}/", voice, flags=flags)
        page.click("#start")
        page.wait_for("#now", "% sure")


def test_a_file_that_is_no_audio_is_told_in_words(
    server: serving.Server, opened: Open, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no sound at all")
    page = opened(server.url)
    page.choose(file)
    page.wait_for("#trouble", "notes.txt: ")
    assert page.find("#recording").is_displayed() is False


def test_a_token_is_asked_for_and_kept_out_of_the_address(opened: Open, voice: Path) -> None:
    with serving.server("--token", TOKEN) as guarded:
        page = opened(guarded.url, voice)
        page.click("#start")
        page.wait_for("#trouble", "The server requires a token")
        page.find("#token").send_keys("not-this-one-0123456789")
        page.click("#token-form button")
        page.click("#start")
        page.wait_for("#trouble", "does not accept this token")
        page.open("about:blank")
        page.open(f"{guarded.url}/#token={TOKEN}")
        assert TOKEN not in page.driver.current_url
        page.click("#start")
        page.wait_for("#status", "listening to")
        page.click("#start")
        page.wait_for("#emotion", "stopped")
        page.open(guarded.url)  # the tab knows it still
        page.choose(DEMO_PATH)
        page.wait_for("#recording", "demo.ogg, 0:20")


def test_a_full_server_is_told_and_tried_again(opened: Open, voice: Path) -> None:
    with serving.server("--max-streams", 1) as small:
        first = opened(small.url, voice)
        first.click("#start")
        first.wait_for("#status", "listening to")
        second = opened(small.url, voice)
        second.click("#start")
        second.wait_for("#trouble", "The server is full")
        first.click("#start")
        first.wait_for("#emotion", "stopped")
        second.wait_for("#status", "listening to")
        assert second.find("#trouble").is_displayed() is False


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone_scrolls_downwards_only(
    server: serving.Server, opened: Open, theme: str
) -> None:
    page = opened(server.url, width=360, height=740)
    page.prefer(color_scheme=theme)
    assert is_free_of_overflow(page)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    page.click("#start")  # there is no microphone: words appear
    page.wait_for("#trouble", "No microphone")
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.run("document.getElementById('token-form').hidden = false")
    assert is_free_of_overflow(page)
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"
    assert dark is (theme == "dark")


def test_the_theme_can_be_chosen_and_is_remembered(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.prefer(color_scheme="light")
    for wanted in ("light", "dark"):
        page.click("#theme")
        assert page.find("#theme").get_attribute("aria-label") == f"Colours: {wanted}"
    page.open(server.url)
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"


def test_the_timeline_is_moved_in_by_keys(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    timeline = page.find("#timeline")
    timeline.send_keys(HOME)
    assert page.text("#when") == "At 0:00.0"
    assert page.text("#emotion") == "silence"
    timeline.send_keys(RIGHT * 8)
    assert page.text("#when") == "At 0:02.0"
    assert page.text("#emotion") == "angry"
    spoken = timeline.get_attribute("aria-valuetext")
    assert spoken == f"At 0:02.0, angry, {page.text('#detail')}"
    timeline.send_keys(END)
    assert page.text("#when").startswith("At 0:19")
    timeline.send_keys(Keys.ESCAPE)
    assert page.text("#emotion") == "stopped"


def test_everything_is_reached_and_pressed_by_keys(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(17):
        page.press(TAB)
        reached.append(
            page.run(
                "const { id, dataset, textContent } = document.activeElement;"
                "return id || dataset.format || textContent.trim()"
            )
        )
    first = ["theme", "start", "microphone", "file", "Options", "play", "closer", "further", "all"]
    assert reached[:9] == first
    assert reached[9:13] == ["timeline", "csv", "jsonl", "audacity"]
    page.run("document.getElementById('start').focus()")
    page.press(ENTER)
    page.wait_for("#trouble", "No microphone was found")


def test_everything_that_is_pressed_has_a_name(server: serving.Server, opened: Open) -> None:
    page = opened(server.url)
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "checkbox", "slider", "textbox", "DisclosureTriangle"}
    named = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(named) >= 15
    assert [n for n in named if not n["ignored"] and not n["name"]["value"].strip()] == []


def test_nothing_is_drawn_while_nothing_changes(server: serving.Server, opened: Open) -> None:
    page = opened("about:blank")
    page.command(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""window.frames_wanted = 0;
            const draw = window.requestAnimationFrame.bind(window);
            window.requestAnimationFrame = (then) => (window.frames_wanted++, draw(then));""",
    )
    page.open(server.url)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    calm = "await new Promise((resolve) => setTimeout(resolve, 1000)); return window.frames_wanted"
    before = page.run_async(calm)
    assert before > 0
    assert page.run_async(calm) == before


def test_all_of_the_page_comes_from_the_server_under_a_strict_policy(
    server: serving.Server, opened: Open
) -> None:
    with urllib.request.urlopen(f"{server.url}/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = opened(server.url)
    page.choose(DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, ")
    names = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert len(names) > 10
    assert all(name.startswith(server.url) for name in names)
