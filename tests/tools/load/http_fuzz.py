"""Schemathesis on the HTTP part, over and over: what its OpenAPI document allows, and does not."""

import asyncio
import importlib.util
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ser_live.text import sanitize
from tools.load.target import Target

_EXAMPLES = 50
_RUN_SECONDS = 300.0
_PAUSE_SECONDS = 5.0
_CASES = re.compile(r"(\d+) generated")
_FAILURE = re.compile(r"^ *❌ (.+): \d+$", re.MULTILINE)
# Any bytes are a body as the document has it, but only some are a recording.
_LEFT_OUT = "positive_data_acceptance"
# A server that others torment may be too busy, where its document says so.
_SETTINGS = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]\n'


@dataclass(slots=True)
class HttpFuzz:
    """What came of all runs."""

    is_installed: bool = importlib.util.find_spec("schemathesis") is not None
    runs: int = 0
    cases: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    async def run(self, target: Target, seed: int, deadline: float) -> None:
        """Run with one seed after the other until a time of the monotonic clock."""
        while self.is_installed and time.monotonic() < deadline:
            code, said = await _schemathesis(target, seed + self.runs)
            self.runs += 1
            self.cases += int(found[1]) if (found := _CASES.search(said)) else 0
            if code:
                names = _FAILURE.findall(said) or [sanitize(said[-200:])]
                self.failures.update(f"{name} (seed {seed + self.runs - 1})" for name in names)
            await asyncio.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))


async def _schemathesis(target: Target, seed: int) -> tuple[int, str]:
    address = target.address
    words = [
        "run", f"{address}/openapi.json", "--seed", str(seed), "--max-examples", str(_EXAMPLES),
        "--exclude-checks", _LEFT_OUT, "--no-color", "--warnings", "off",
    ]  # fmt: skip
    for name, value in address.headers.items():
        words += ["-H", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as folder:  # where it leaves what it remembers
        (Path(folder) / "schemathesis.toml").write_text(_SETTINGS, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_RUN_SECONDS):
                said, _ = await process.communicate()
        except TimeoutError:
            return 1, "it took too long"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return process.returncode or 0, said.decode(errors="replace")
