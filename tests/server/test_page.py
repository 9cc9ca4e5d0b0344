"""The page of ser-serve in a real browser: what it shows is what the server says."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import serving
from helpers.server_talk import timeless
from ser_live import Prediction
from ser_live.client.messages import record
from ser_live.engine.segments import Segment
from ser_live.output.formats import Format, format_of
from ser_live.sources import DEMO_PATH

pytest.importorskip("selenium")
from selenium.webdriver import Keys

from helpers import browser
from helpers.browser import of_type

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not browser.is_installed(), reason="chromium is not installed"),
]

TAB, ENTER, HOME, END, RIGHT = Keys.TAB, Keys.ENTER, Keys.HOME, Keys.END, Keys.RIGHT
TOKEN = "open-sesame-0123456789"


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server() as running:
        yield running


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """The one browser of these tests, without a microphone."""
    flags = ("--autoplay-policy=no-user-gesture-required",)
    with browser.Browser(tmp_path_factory.mktemp("browser"), flags=flags) as one:
        yield one


@pytest.fixture
def page(window: browser.Browser, server: serving.Server) -> Iterator[browser.Browser]:
    """The page, newly opened."""
    window.forget()
    window.get(server.url)
    yield window
    assert not window.complaints()


@pytest.fixture
def demo_page(page: browser.Browser) -> browser.Browser:
    """The page with the demo, recognized."""
    page.choose(DEMO_PATH, "#recording", "demo.ogg, ")
    return page


def is_free_of_overflow(page: browser.Browser) -> bool:
    return bool(page.run("return document.documentElement.scrollWidth <= innerWidth"))


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


def test_a_dropped_file_is_what_the_server_says_of_it(
    server: serving.Server, page: browser.Browser
) -> None:
    wanted = server.recognized(DEMO_PATH.read_bytes())
    drop(page, DEMO_PATH)
    page.wait_for("#recording", "demo.ogg, 0:20, 22.05 kHz")
    records = page.records()
    assert of_type(records, "prediction") == [timeless(one) for one in wanted["predictions"]]
    assert of_type(records, "segment") == wanted["segments"]
    rows = page.run(
        "document.getElementById('segments').open = true;"
        "return [...document.getElementById('rows').rows].map((row) => row.cells[2].textContent)"
    )
    assert rows[::-1] == [segment["label"] for segment in wanted["segments"]]
    for segment in wanted["segments"]:
        last = (segment["end_seconds"] - 0.1) / wanted["seconds"]  # the first of it may warm up
        said = page.what_is_at(last)
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
        assert (red, green, blue) in page.colors_at(last - 0.005, 0.89)


def test_whole_utterances_are_listed_where_they_are_asked_for(
    server: serving.Server, page: browser.Browser, tmp_path: Path
) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(DEMO_PATH.read_bytes())
    wanted = server.recognized(recording.read_bytes(), utterances=True)["utterances"]
    page.run("document.getElementById('utterances').checked = true")
    drop(page, recording)
    page.wait_for("#recording", "talk.wav, 0:20")
    assert of_type(page.records(), "utterance") == wanted
    rows = page.run(
        "document.getElementById('segments').open = true;"
        "return [...document.getElementById('rows').rows].map((row) => row.innerText)"
    )
    listed = [row.split("\t")[2:] for row in rows[::-1] if "utterance: " in row]
    assert listed == [
        [f"utterance: {one['label']}", f"{100 * one['confidence']:.0f} %"] for one in wanted
    ]


def test_the_exports_are_those_of_the_command_line(
    server: serving.Server, demo_page: browser.Browser
) -> None:
    told = server.recognized(DEMO_PATH.read_bytes())
    predictions = [record(Prediction, one, timing=None) for one in told["predictions"]]
    track = format_of("a.txt")
    assert isinstance(track, Format)
    wanted_track = "".join(track.text(record(Segment, one)) for one in told["segments"])
    assert demo_page.save("audacity", ".txt") == wanted_track
    labels = next(one.probabilities for one in predictions if one.probabilities)
    table = format_of("a.csv", tuple(labels))
    assert isinstance(table, Format)
    wanted = table.head + "".join(table.text(one) for one in predictions)
    assert numbers(demo_page.save("csv", ".csv")) == numbers(wanted)


def numbers(table: str) -> list[list[str | float]]:
    """Fields of a CSV table; Python writes 1.0 where JavaScript writes 1."""
    rows = csv.reader(io.StringIO(table, newline=""))
    return [[float(f) if f.replace(".", "").isdigit() else f for f in row] for row in rows]


def test_a_file_that_is_played_live_shows_the_same(
    server: serving.Server, page: browser.Browser, tmp_path: Path
) -> None:
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="int16")
    file = tmp_path / "part.wav"
    soundfile.write(file, samples[: 9 * rate_hz], rate_hz, subtype="PCM_16")
    page.choose(file, "#recording", "part.wav, ")
    page.click("#play")
    page.wait_for("#status", "listening to part.wav")
    page.wait_for("#emotion", "stopped")  # by itself, at its end
    labels = [segment["label"] for segment in of_type(page.records(), "segment")]
    assert len(labels) == 2
    wanted = server.recognized(file.read_bytes())["segments"]
    assert labels == [segment["label"] for segment in wanted]


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


def test_the_client_hears_what_the_recording_gives(page: browser.Browser, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="int16")
    samples = samples[: 6 * rate_hz]
    file = tmp_path / "part.wav"
    soundfile.write(file, samples, rate_hz, subtype="PCM_16")
    with serving.server("--token", TOKEN) as guarded:
        page.get(f"{guarded.url}/#token={TOKEN}")
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
    for told, known in zip(heard["prediction"], wanted["predictions"], strict=True):
        assert timeless(told) == timeless(known)
    assert [segment["label"] for segment in heard["segment"]] == [
        segment["label"] for segment in wanted["segments"]
    ]
    assert 0 <= heard["roundTrip"] < 30


def test_what_the_network_cannot_take_is_skipped_and_told(
    server: serving.Server, page: browser.Browser
) -> None:
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


def test_a_file_that_is_no_audio_is_told_in_words(page: browser.Browser, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no sound at all")
    page.choose(file, "#trouble", "notes.txt: ")
    assert page.find("#recording").is_displayed() is False


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_telephone_scrolls_downwards_only(page: browser.Browser, theme: str) -> None:
    page.resize(360, 740)
    page.prefer(color_scheme=theme)
    assert is_free_of_overflow(page)
    page.choose(DEMO_PATH, "#recording", "demo.ogg, ")
    page.press_start("#trouble", "No microphone")  # there is no microphone: words appear
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.run("document.getElementById('token-form').hidden = false")
    assert is_free_of_overflow(page)
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"
    assert dark is (theme == "dark")


def test_the_theme_can_be_chosen_and_is_remembered(
    server: serving.Server, page: browser.Browser
) -> None:
    page.prefer(color_scheme="light")
    for wanted in ("light", "dark"):
        page.click("#theme")
        assert page.find("#theme").get_attribute("aria-label") == f"Colours: {wanted}"
    page.get(server.url)
    assert page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"


def test_the_timeline_is_moved_in_by_keys(demo_page: browser.Browser) -> None:
    timeline = demo_page.find("#timeline")
    timeline.send_keys(HOME)
    assert demo_page.text("#when") == "At 0:00.0"
    assert demo_page.text("#emotion") == "silence"
    timeline.send_keys(RIGHT * 8)
    assert demo_page.text("#when") == "At 0:02.0"
    assert demo_page.text("#emotion") == "neutral"
    spoken = timeline.get_attribute("aria-valuetext")
    assert spoken == f"At 0:02.0, neutral, {demo_page.text('#detail')}"
    timeline.send_keys(END)
    assert demo_page.text("#when").startswith("At 0:19")
    timeline.send_keys(Keys.ESCAPE)
    assert demo_page.text("#emotion") == "stopped"


def test_everything_is_reached_and_pressed_by_keys(demo_page: browser.Browser) -> None:
    demo_page.run("document.activeElement.blur()")
    reached = []
    for _ in range(17):
        demo_page.press(TAB)
        reached.append(
            demo_page.run(
                "const { id, dataset, textContent } = document.activeElement;"
                "return id || dataset.format || textContent.trim()"
            )
        )
    first = ["theme", "start", "microphone", "file", "Options", "play", "closer", "further", "all"]
    assert reached[:9] == first
    assert reached[9:13] == ["timeline", "csv", "jsonl", "audacity"]
    demo_page.run("document.getElementById('start').focus()")
    demo_page.press(ENTER)
    demo_page.wait_for("#trouble", "No microphone was found")


def test_everything_that_is_pressed_has_a_name(page: browser.Browser) -> None:
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "checkbox", "slider", "textbox", "DisclosureTriangle"}
    named = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(named) >= 15
    assert [n for n in named if not n["ignored"] and not n["name"]["value"].strip()] == []


def test_nothing_is_drawn_while_nothing_changes(
    server: serving.Server, page: browser.Browser
) -> None:
    page.get("about:blank")
    page.command(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""window.frames_wanted = 0;
            const draw = window.requestAnimationFrame.bind(window);
            window.requestAnimationFrame = (then) => (window.frames_wanted++, draw(then));""",
    )
    page.get(server.url)
    page.choose(DEMO_PATH, "#recording", "demo.ogg, ")
    calm = "await new Promise((resolve) => setTimeout(resolve, 1000)); return window.frames_wanted"
    before = page.run_async(calm)
    assert before > 0
    assert page.run_async(calm) == before
