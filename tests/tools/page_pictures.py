"""Take docs/page-*.png: ``python tests/tools/page_pictures.py`` takes a minute, by the clock."""

import argparse
import base64
import io
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import soundfile
from PIL import Image

from helpers import browser, serving
from ser_live.testing import demo_voice

DOCS = Path(__file__).parents[2] / "docs"
THEMES = ("light", "dark")
SIZES = {"wide": (1200, 854), "phone": (360, 902)}
UTTERANCES = 4
FADE_SECONDS = 0.6

COUNT_WORDS = """
    window.words = 0;
    let named = false;
    new MutationObserver(() => {
        const { state } = document.getElementById("now").dataset;
        if (state === "speech" && !named) window.words += 1;
        named = state === "speech" || (named && state === "uncertain");
    }).observe(document.getElementById("emotion"), { childList: true });
"""


def main() -> None:
    """Let the page hear the demo voice, and look at it in its last utterance."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, serving.process(model=None) as server:
        for name, size in SIZES.items():
            place = Path(folder) / name
            place.mkdir()
            voice = place / "voice.wav"
            soundfile.write(voice, demo_voice(48000), 48000)  # the rate that Chromium wants
            with browser.Browser(
                place, voice, width=size[0], height=size[1], flags=("--hide-scrollbars",)
            ) as page:
                _look(page, server.url, DOCS / f"page-{name}")


def _look(page: browser.Browser, url: str, path: Path) -> None:
    page.get(url)
    page.run(COUNT_WORDS)
    page.click("#start")
    page.command("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    page.wait(lambda: page.run("return window.words") == UTTERANCES, "last utterance")
    for theme in THEMES:
        page.prefer(color_scheme=theme)
        page.run_async(f"await new Promise((go) => setTimeout(go, {1000 * FADE_SECONDS}))")
        data = base64.b64decode(page.command("Page.captureScreenshot", format="png")["data"])
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture.save(path.with_name(f"{path.name}-{theme}.png"), optimize=True)


if __name__ == "__main__":
    main()
