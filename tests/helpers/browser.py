"""A real Chromium whose microphone plays a file, looking at the page of a real server."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from helpers.server_talk import timeless

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
)
_PATIENCE_SECONDS = 30.0
# A server that is away or refuses, and a page by plain http: they are told on the page itself.
_EXPECTED = (
    "WebSocket connection to",
    "Failed to load worklet module script",
    "Cross-Origin-Opener-Policy header has been ignored",
)


def is_installed() -> bool:
    return all(shutil.which(program) for program in ("chromium", "chromedriver"))


class Browser(webdriver.Chrome):
    """One window with an empty profile.

    Parameters
    ----------
    folder : Path
        Empty; profile and downloads come into it.
    microphone : Path or None
        WAV file that the microphone plays once; None: there is no microphone.
    width, height : int
        Of the page, in CSS pixels.
    is_asked : bool
        For the microphone, and the question stays open; else it is allowed.
    flags : sequence of str
        More of Chromium's.
    """

    def __init__(
        self,
        folder: Path,
        microphone: Path | None = None,
        *,
        width: int = 1200,
        height: int = 900,
        is_asked: bool = False,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.downloads = folder / "downloads"
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or "chromium"
        wanted = [*_FLAGS, *flags]
        if microphone:
            wanted.append("--use-fake-device-for-media-stream")
            wanted.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        if not is_asked:
            wanted.append("--use-fake-ui-for-media-stream")
        for flag in wanted:
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={folder / 'profile'}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        super().__init__(options, Service(shutil.which("chromedriver")))
        self._size = (width, height)
        self.resize(width, height)
        self.command(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads)
        )

    def command(self, name: str, **parameters: Any) -> Any:
        """Send Chromium a command of its own protocol."""
        return self.execute_cdp_cmd(name, parameters)

    def resize(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def prefer(self, color_scheme: str = "") -> None:
        """Set "light" or "dark" as what a person prefers; nothing: as new."""
        wanted = {"name": "prefers-color-scheme", "value": color_scheme}
        self.command("Emulation.setEmulatedMedia", features=[wanted])

    def forget(self) -> None:
        """Be as new: size, preferences, and what pages have stored."""
        if self.current_url.startswith("http"):
            self.run("localStorage.clear(); sessionStorage.clear()")
        self.resize(*self._size)
        self.prefer()

    def hurry(self) -> None:
        """Let waits of 5 to 20 s take a tenth of that, in pages that are opened from now on."""
        self.command(
            "Page.addScriptToEvaluateOnNewDocument",
            source="""const wait = window.setTimeout.bind(window);
                window.setTimeout = (then, time, ...given) =>
                    wait(then, time > 5000 && time < 20000 ? time / 10 : time, ...given);""",
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a function in the page."""
        return self.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: Any) -> Any:
        """Run the body of an async function in the page and wait for what it gives."""
        self.set_script_timeout(2 * _PATIENCE_SECONDS)
        wrapped = f"""
            const done = arguments[arguments.length - 1];
            (async (...given) => {{ {script} }})(...arguments).then(
                (value) => done({{ value }}), (error) => done({{ error: String(error) }}));"""
        answer = self.execute_async_script(wrapped, *arguments)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def find(self, place: str) -> WebElement:
        return self.find_element(By.CSS_SELECTOR, place)

    def text(self, place: str) -> str:
        """Return the words that can be read there."""
        return self.find(place).text

    def click(self, place: str) -> None:
        self.find(place).click()

    def press_start(self, place: str, words: str) -> None:
        """Press the button that starts and stops, whatever results go; wait until words come."""
        self.click("#start")
        self.run("document.querySelector('#ask[open]')?.close('discard')")
        self.wait_for(place, words)

    def press(self, key: str) -> None:
        """Press a key wherever the focus is."""
        webdriver.ActionChains(self).send_keys(key).perform()

    def choose(self, file: Path, place: str, words: str) -> None:
        """Choose a recording; wait until words can be read somewhere."""
        self.find("#file").send_keys(str(file))
        self.wait_for(place, words)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something is true, and give it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline, f"no {what}; the page:\n{self.text('body')}"
            time.sleep(0.05)
        return value

    def wait_for(self, place: str, words: str) -> None:
        """Wait until words can be read somewhere."""
        found = self.run_async(
            """const [place, words, milliseconds] = given;
            return new Promise((resolve) => {
                const look = () => document.querySelector(place).innerText.includes(words);
                const observer = new MutationObserver(() => look() && end(true));
                const end = (found) => (observer.disconnect(), resolve(found));
                const all = { subtree: true, childList: true, characterData: true };
                observer.observe(document, { ...all, attributes: true });
                setTimeout(end, milliseconds, false);
                if (look()) end(true);
            });""",
            place,
            words,
            1000 * _PATIENCE_SECONDS,
        )
        assert found, f"no {words!r} in {place}; the page:\n{self.text('body')}"

    def save(self, form: str, ending: str) -> str:
        """Press a button of the export and read the file."""
        self.click(f"[data-format={form}]")
        found = self.wait(lambda: [*self.downloads.glob(f"*{ending}")], f"download {ending}")
        text = str(found[0].read_bytes().decode("utf-8"))
        found[0].unlink()
        return text

    def records(self) -> list[dict[str, Any]]:
        """Return the page's records, from its own export."""
        return [json.loads(line) for line in self.save("jsonl", ".jsonl").splitlines()]

    def complaints(self) -> list[str]:
        """Return what Chromium says about the page in its console: policy, scripts."""
        entries = self.get_log("browser")  # type: ignore[no-untyped-call]
        return [
            entry["message"]
            for entry in entries
            if entry["source"] != "network"
            and not any(known in entry["message"] for known in _EXPECTED)
        ]

    def what_is_at(self, x: float) -> str:
        """Point at a place in the timeline, 0 to 1, and return the headline."""
        self.run(
            """const canvas = document.getElementById("timeline");
            const { left, width, top } = canvas.getBoundingClientRect();
            const at = { clientX: left + arguments[0] * width, clientY: top + 50, pointerId: 1 };
            canvas.setPointerCapture = () => {};  // of a pointer that only this script knows
            for (const type of ["pointerdown", "pointerup"])
                canvas.dispatchEvent(new PointerEvent(type, at));""",
            x,
        )
        return self.text("#emotion")

    def best_share(self) -> float:
        """Return the greatest share that the bars show."""
        shares = self.run(
            "return [...document.querySelectorAll('#bars .share')].map((one) => one.textContent)"
        )
        return max(float(share.split()[0]) / 100 for share in shares)

    def broken_words(self) -> list[str]:
        """Return the words that are seen on more than one line each."""
        words: list[str] = self.run(
            """const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const broken = [];
            for (let text; (text = texts.nextNode()); ) {
                for (const { 0: word, index } of text.data.matchAll(/\\S+/g)) {
                    const place = document.createRange();
                    place.setStart(text, index);
                    place.setEnd(text, index + word.length);
                    const tops = [...place.getClientRects()].map(({ top }) => Math.round(top));
                    if (new Set(tops).size > 1) broken.push(word);
                }
            }
            return broken;"""
        )
        return words

    def colors_at(self, x: float, y: float) -> set[tuple[int, int, int]]:
        """Colours of a small square of the timeline, on the card; y 0 is its top, 1 its bottom."""
        values = self.run(
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
        return {
            (red, green, blue) for red, green, blue, _ in np.array(values).reshape(-1, 4).tolist()
        }


def of_type(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the records of a type, without what a clock measured."""
    return [timeless(record) for record in records if record["type"] == kind]
