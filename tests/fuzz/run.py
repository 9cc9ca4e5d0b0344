"""Fuzz every border of the product with atheris (libFuzzer for Python).

    pip install 'ser-live[long]'
    python tests/fuzz/run.py --minutes 30              # all targets in turn
    python tests/fuzz/run.py --minutes 5 models cards  # some

Each target runs in a process of its own, so that a parser that crashes natively shows. Only
SerError may come out of an input; another exception, a crash, more than 10 s or 2 GB is a finding.
Its input is written into ``tests/fuzz/findings/<target>/``, where
``tests/engine/test_fuzz_findings.py`` replays it from then on: mend the cause, keep
the file. Ends with 1 if anything was found.
"""

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fuzz import TARGETS  # noqa: E402 - only now is it found

SECONDS_PER_INPUT = 10
MEGABYTES = 2048
LONGEST_INPUT_BYTES = 1 << 18
_PLAIN_BYTES_SHARE = 0.15
_SEEDS_SHARE = 0.3
"""Of mutations that begin anew: what changes twice is mostly refused at the first check."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the product's borders.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all targets together")
    options = parser.parse_args()
    targets = options.targets or TARGETS
    for unknown in set(targets) - set(TARGETS):
        parser.error(f"there is no {unknown}, wanted some of {', '.join(TARGETS)}")
    if not options.minutes > 0:
        parser.error(f"--minutes is {options.minutes:g}, wanted more than 0")
    seconds = 60.0 * options.minutes / len(targets)
    return 1 if sum([_run(target, seconds) for target in targets]) else 0


def _run(target: str, seconds: float) -> int:
    """Run one target for so long, also after findings; print and return how many there were."""
    executions = findings = 0
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="ser-live-fuzz-") as folder:
        corpus, found = Path(folder, "corpus"), Path(folder, "found")
        corpus.mkdir()
        found.mkdir()
        for number, seed in enumerate(_target(target).seeds()):
            (corpus / f"seed{number}").write_bytes(seed)
        while (left := until - time.monotonic()) > 1:
            told = _run_and_read_end(
                [
                    sys.executable, __file__, "--inside", target, str(corpus),
                    f"-max_total_time={int(left)}", f"-timeout={SECONDS_PER_INPUT}",
                    f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST_INPUT_BYTES}",
                    f"-artifact_prefix={found}/", "-print_final_stats=1",
                ]
            )  # fmt: skip
            counts = re.findall(r"number_of_executed_units: (\d+)", told)
            executions += sum(map(int, counts))
            for path in found.iterdir():
                findings += 1
                kept = HERE / "findings" / target / path.name
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, kept)
                print(f"{target}: {kept}\n{told[-3000:]}", flush=True)
            if not counts:
                print(f"{target}: does not run\n{told[-3000:]}", flush=True)
                return findings + 1
    print(f"{target}: {executions} executions in {seconds:.0f} s, {findings} findings", flush=True)
    return findings


def _run_and_read_end(command: list[str]) -> str:
    """Run a command and return the end of what it prints.

    Parsers print gigabytes, and the memory of this process counts as its child's, too.
    """
    told = b""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.stderr is not None and (chunk := process.stderr.read(1 << 16)):
            told = (told + chunk)[-(1 << 16) :]
    return told.decode(errors="replace")


def _fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz a target in this process, which never returns."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["ser_live", "ser_train"]):
        target = _target(name)

    if not hasattr(target, "mutate"):
        atheris.Setup([sys.argv[0], *arguments], target.check)
        atheris.Fuzz()
    seeds: list[bytes] = target.seeds()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < _SEEDS_SHARE:
            data = random.choice(seeds)
        if random.random() > _PLAIN_BYTES_SHARE:
            try:
                changed: bytes = target.mutate(data, random)
            except Exception:  # the input is damaged too much for it
                changed = b""
            if 0 < len(changed) <= max_size:
                return changed
        plain: bytes = atheris.Mutate(data, max_size)
        return plain

    atheris.Setup([sys.argv[0], *arguments], target.check, custom_mutator=mutate)
    atheris.Fuzz()


def _target(name: str) -> Any:
    return importlib.import_module(f"fuzz.{name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        _fuzz(sys.argv[2], sys.argv[3:])
    sys.exit(main())
