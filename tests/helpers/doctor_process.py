"""Run ser-live doctor on machines that are made worse than they are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2] / "realtime" / "ser_live"
COMMAND = [sys.executable, "-m", "ser_live", "doctor"]
GONE = "raise ImportError('gone')"

Findings = dict[str, dict[str, Any]]


def run(environment: dict[str, str], *arguments: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={"PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def found(done: "subprocess.CompletedProcess[str]") -> Findings:
    """Return the findings of a JSON report, by name."""
    document = json.loads(done.stdout)
    assert document["verdict"] in ("ok", "warning", "problem")
    findings = {finding["name"]: finding for finding in document["findings"]}
    has_problem = any(finding["verdict"] == "problem" for finding in findings.values())
    assert has_problem == (document["verdict"] == "problem") == (done.returncode == 1)
    return findings


def shadowed(environment: dict[str, str], folder: Path, **modules: str) -> dict[str, str]:
    """Return an environment in which modules of our own stand before the installed ones."""
    folder.mkdir(exist_ok=True)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    return {**environment, "PYTHONPATH": os.pathsep.join([str(folder), environment["PYTHONPATH"]])}
