"""The page through a real nginx: under a sub-path, and where a proxy lets less than all through."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
import soxr

from helpers import nginx, serving
from ser_live.sources import DEMO_PATH

pytest.importorskip("selenium")
from helpers import browser

pytestmark = [
    pytest.mark.integration,
    nginx.is_installed,
    pytest.mark.skipif(not browser.is_installed(), reason="chromium is not installed"),
]

Shown = Callable[..., browser.Browser]


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    options = ("--root-path", "/ser", "--trusted-proxy", "127.0.0.1", "--allow-host", nginx.NAME)
    with serving.server(*options) as running:
        yield running


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """The one browser of these tests; its microphone plays the demo."""
    folder = tmp_path_factory.mktemp("browser")
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="float32")
    voice = folder / "demo.wav"
    soundfile.write(voice, soxr.resample(samples, rate_hz, 48000), 48000, subtype="PCM_16")
    rules = f"--host-resolver-rules=MAP {nginx.NAME} 127.0.0.1"
    flags = (rules, "--ignore-certificate-errors")  # no authority has signed this one
    with browser.Browser(folder, voice, flags=flags) as one:
        yield one


@pytest.fixture
def shown(window: browser.Browser, server: serving.Server, tmp_path: Path) -> Iterator[Shown]:
    """Open the page through the sample, with lines of it changed."""
    proxies = []

    def show(path: str = "/ser/", **changed: str) -> browser.Browser:
        proxies.append(nginx.running(tmp_path, [server.port], **changed))
        window.get(f"https://{nginx.NAME}:{proxies[-1].__enter__().port}{path}")
        return window

    yield show
    window.get("about:blank")
    for proxy in proxies:
        proxy.__exit__(None, None, None)


def test_it_loads_and_starts_under_a_sub_path(shown: Shown, server: serving.Server) -> None:
    page = shown("/ser")
    assert page.current_url.endswith("/ser/")
    page.press_start("#now", "% sure")
    page.press_start("#emotion", "stopped")
    page.find("#file").send_keys(str(DEMO_PATH))
    page.click("#ask [value=discard]")
    page.wait_for("#recording", "demo.ogg, 0:20")
    assert server.log.wait_for("stream opened", client="127.0.0.1")
    assert not page.complaints()


def test_a_proxy_that_strips_the_path_does_as_well(shown: Shown) -> None:
    stripped = {"location /ser/ {\n": "location /ser/ {\n rewrite ^/ser(/.*)$ $1 break;\n"}
    shown(**stripped).press_start("#status", "listening to")


@pytest.mark.parametrize("path", ["/ser/", "/"])
def test_scripts_that_are_refused_are_told_on_the_page(shown: Shown, path: str) -> None:
    """By the proxy, and where its page is shown at a path that its scripts are not."""
    wrong = {
        "/ser/": "location ~ [.]js$ { return 403; }",
        "/": "location = / { proxy_pass http://ser_live/ser/; }",
    }
    before = "location = /ser/metrics {"
    page = shown(path, **{before: f"{wrong[path]}\n{before}"})
    page.wait(lambda: page.find("#unscripted").is_displayed(), "message")
    assert "The scripts of this page did not come" in page.text("#unscripted")
    assert not page.find("#start").is_enabled()
    page.wait(lambda: "ready" not in page.text("body"), "page without what does not work")
    page.complaints()  # of what was refused


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("Host $http_host", "Host 127.0.0.1", "let the proxy in front keep Host"),
        ("Upgrade    $http_upgrade", "X-None none", "headers Upgrade and Connection"),
    ],
    ids=["host", "upgrade"],
)
def test_why_no_stream_comes_through_is_told(
    shown: Shown, server: serving.Server, line: str, instead: str, words: str
) -> None:
    page = shown(**{f"proxy_set_header {line};": f"proxy_set_header {instead};"})
    page.press_start("#trouble", words)
    reason = "origin" if "Host" in line else "no_websocket"
    assert server.log.wait_for("request", reason=reason)
