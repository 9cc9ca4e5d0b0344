"""The page of ser-serve in a real browser: what it shows is what the server says."""

import csv
import io
import math
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
            assert said.startswith("maybe ")
            guess, percent = said.split()[1], round(100 * page.best_share())
            assert f"of 100 such moments about {percent} are {guess}" in page.text("#detail")
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
    rows = numbers(demo_page.save("csv", ".csv"))
    assert [row[:-2] for row in rows] == numbers(wanted)
    source = demo_page.records()[0]
    assert source.pop("type") == "source"
    assert source["name"] == DEMO_PATH.name
    assert source["model"] == serving.FAST_MODEL
    assert {tuple(row[-2:]) for row in rows[1:]} == {(source["name"], source["recognized_at"])}


@pytest.mark.parametrize(
    ("form", "ending"), [("csv", "csv"), ("jsonl", "jsonl"), ("audacity", "txt")]
)
def test_the_name_of_an_export_tells_date_and_source(
    demo_page: browser.Browser, form: str, ending: str
) -> None:
    demo_page.click(f"[data-format={form}]")
    found = demo_page.wait(lambda: [*demo_page.downloads.glob(f"*.{ending}")], "download")
    found[0].unlink()
    when = datetime.strptime(found[0].stem, f"{DEMO_PATH.stem}-%Y-%m-%d-%H-%M").astimezone()
    assert abs(datetime.now(UTC) - when) < timedelta(hours=1)


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
    assert demo_page.text("#emotion") == "silence"  # what the last hop said
    timeline.send_keys(Keys.ESCAPE)
    assert demo_page.text("#emotion") == "stopped"


def test_a_zoom_keeps_what_is_pointed_at_in_view(demo_page: browser.Browser) -> None:
    timeline = demo_page.find("#timeline")
    timeline.send_keys(HOME + RIGHT * 8)
    for keys in ("+++", "---", "+" * 4, "0"):
        timeline.send_keys(keys)
        assert timeline.get_attribute("aria-valuenow") == "2.0"
        # The head of the cursor alone reaches between names and segments.
        assert demo_page.run(
            """const canvas = document.getElementById("timeline");
            const copy = new OffscreenCanvas(canvas.width, 1).getContext("2d");
            copy.drawImage(canvas, 0, -24);
            const { data } = copy.getImageData(0, 0, canvas.width, 1);
            return data.some((value, at) => at % 4 === 3 && value === 255);"""
        )


def test_names_in_a_narrow_timeline_are_whole(page: browser.Browser) -> None:
    page.resize(360, 740)
    page.run(
        """window.drawn = new Set();
        const draw = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (words, ...rest) {
            window.drawn.add(words);
            draw.call(this, words, ...rest);
        };"""
    )
    page.choose(DEMO_PATH, "#recording", "demo.ogg, 0:20")
    page.run_async("await new Promise(requestAnimationFrame)")
    named = {words for words in page.run("return [...window.drawn]") if words[0].isalpha()}
    labels = {record["label"] for record in of_type(page.records(), "segment")}
    assert {words.split("  ")[0] for words in named - {"no audio yet"}} == labels


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    """The demo, so often that its segments are narrow in a view of all."""
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="int16")
    file = tmp_path / "long.wav"
    soundfile.write(file, np.tile(samples, 6), rate_hz, subtype="PCM_16")
    return file


def test_a_long_recording_tells_how_far_it_is_and_shows_shares(
    server: serving.Server, page: browser.Browser, long_recording: Path
) -> None:
    page.resize(360, 740)
    page.run(
        """window.told = [];
        const words = document.getElementById("recording-words");
        const bar = document.getElementById("progress");
        new MutationObserver(() => window.told.push([words.textContent, bar.value]))
            .observe(words, { childList: true });"""
    )
    page.choose(long_recording, "#recording", "long.wav, 1:5")
    told = page.run("return window.told")[1:-1]
    percents = [int(words.split(": ")[1].split(" %")[0]) for words, _ in told]
    assert percents == sorted(percents)
    assert len(set(percents)) > 5
    assert any(words.endswith(" left") for words, _ in told)
    for percent, (_, value) in zip(percents, told, strict=True):
        assert 0 <= 100 * value - percent < 1

    wanted = server.recognized(long_recording.read_bytes())
    seconds, spans = wanted["seconds"], wanted["segments"]

    rows = page.run(
        "return [...document.querySelectorAll('#totals tbody tr')].map("
        "(row) => [...row.cells].map((cell) => cell.textContent))"
    )
    whole = seconds_by_label(spans)
    whole["silence, warming up"] = seconds - sum(whole.values())
    assert {name: float(text.split()[0]) for name, text, _ in rows} == pytest.approx(
        whole, abs=0.06
    )

    page.run("document.getElementById('segments').open = true")  # more rows than have room
    assert axe_findings(page) == []
    assert page.broken_words() == []

    # Neutral is the lowest part of a column; its colour ends where its share does.
    step, top, bottom, height = 5.0, 26, 24, 160
    ink = (0x89, 0x8C, 0x9B)
    for start in np.arange(0.0, seconds - step, step):
        share = seconds_by_label(spans, start, start + step).get("neutral", 0.0) / step
        edge = height - bottom - share * (height - top - bottom)
        x = (start + step / 2) / seconds
        if share > 0.1:
            assert ink in page.colors_at(x, (edge + 6) / height)
        if share < 0.85:
            assert ink not in page.colors_at(x, (edge - 8) / height)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the files")
def test_a_recording_that_is_cancelled_while_the_browser_decodes_is_not_streamed(
    page: browser.Browser, tmp_path: Path
) -> None:
    memo = tmp_path / "memo.m4a"
    command = ["ffmpeg", "-v", "error", "-i", str(DEMO_PATH), "-c:a", "aac", str(memo)]
    subprocess.run(command, check=True, timeout=60)
    page.run(
        """window.streams = 0;
        window.WebSocket = class extends WebSocket {
            constructor(...given) { super(...given); window.streams += 1; }
        };
        const { decodeAudioData } = OfflineAudioContext.prototype;
        OfflineAudioContext.prototype.decodeAudioData = async function (...given) {
            await new Promise((go) => (window.decodeNow = go));
            return decodeAudioData.apply(this, given);
        };"""
    )
    page.find("#file").send_keys(str(memo))
    page.wait(lambda: page.run("return Boolean(window.decodeNow)"), "decoder at work")
    page.click("#recording-cancel")
    assert not page.find("#recording").is_displayed()
    page.run("window.decodeNow(); window.decodeNow = null")
    page.find("#file").send_keys(str(DEMO_PATH))
    page.wait(lambda: page.run("return Boolean(window.decodeNow)"), "answer of the server")
    page.run("window.decodeNow()")
    page.wait_for("#recording", "demo.ogg, 0:20")
    assert page.run("return window.streams") == 0


@pytest.mark.parametrize(("ending", "codec"), [("m4a", "aac"), ("webm", "libopus")])
def test_what_the_server_cannot_read_is_decoded_by_the_browser(
    server: serving.Server, page: browser.Browser, tmp_path: Path, ending: str, codec: str
) -> None:
    memo = tmp_path / f"memo.{ending}"
    command = ["ffmpeg", "-v", "error", "-i", str(DEMO_PATH), "-c:a", codec, str(memo)]
    subprocess.run(command, check=True)
    assert server.post(memo.read_bytes()).status_code == 415
    page.choose(memo, "#recording", "decoded by this browser")
    decoded = memo.with_suffix(".wav")
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(memo), str(decoded)], check=True)
    wanted = seconds_by_label(server.recognized(decoded.read_bytes())["segments"])
    heard = seconds_by_label(of_type(page.records(), "segment"))
    assert sum(heard.values()) == pytest.approx(sum(wanted.values()), abs=0.5)
    assert heard["neutral"] == pytest.approx(wanted["neutral"], abs=2.0)


def seconds_by_label(
    segments: list[dict[str, Any]], start: float = 0.0, end: float = math.inf
) -> dict[str, float]:
    """Seconds of each label between two times."""
    sums: dict[str, float] = {}
    for one in segments:
        inside = min(one["end_seconds"], end) - max(one["start_seconds"], start)
        sums[one["label"]] = sums.get(one["label"], 0.0) + max(0.0, inside)
    return sums


def test_a_first_visit_says_what_the_page_does_and_what_not(page: browser.Browser) -> None:
    words = page.text("#detail")
    assert "which emotion a voice sounds like, not what a person feels" in words
    page.press_start("#trouble", "No microphone")
    assert page.text("#detail") == words


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["new", "file", "open", "asking"])
def test_no_word_is_broken_and_axe_finds_nothing(
    page: browser.Browser, state: str, theme: str
) -> None:
    page.resize(360, 740)
    page.prefer(color_scheme=theme)
    page.wait_for("#bars", "neutral")
    if state != "new":
        page.choose(DEMO_PATH, "#recording", "demo.ogg, 0:20")
    if state == "open":
        page.press_start("#trouble", "No microphone")
        page.run("for (const one of document.querySelectorAll('details')) one.open = true")
        page.run("document.getElementById('token-form').hidden = false")
    if state == "asking":
        page.run("document.getElementById('ask').showModal()")
    assert page.broken_words() == []
    assert is_free_of_overflow(page)
    assert axe_findings(page) == []


def axe_findings(page: browser.Browser) -> list[tuple[str, list[str]]]:
    """Rules of axe-core that the page breaks, and where."""
    axe = pytest.importorskip("axe_core_python")
    page.run((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.run_async("return (await axe.run()).violations")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


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
