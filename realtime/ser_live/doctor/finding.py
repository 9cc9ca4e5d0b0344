"""What a check says, and how checks are run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from ser_live.errors import SerError

Verdict = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check."""

    name: str
    """What was looked at, in a word or two."""
    verdict: Verdict
    finding: str
    """One sentence."""
    remedy: str | None = None
    """One sentence; None where there is nothing to mend."""
    figures: Mapping[str, object] = field(default_factory=dict)
    """What was measured: plain JSON values."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at."""

    name: str
    run: Callable[[], Iterable[Finding]]
    hint: str = ""
    """What is going on, for a person who waits; empty where nobody has to."""
    needs: tuple[str, ...] = ()
    """Names of earlier findings; one that is a problem makes this check pointless."""


def examine(
    checks: Iterable[Check], waiting: Callable[[str], AbstractContextManager[object]]
) -> Iterator[Finding]:
    """Run checks in their order and give what they find as it comes.

    Parameters
    ----------
    checks : iterable of Check
        Checks that raise are findings, too.
    waiting : callable
        Entered with a check's hint while the check runs.
    """
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        if missing:
            failed.add(check.name)
            yield Finding(check.name, "skipped", f"it needs {missing[0]}, see there")
            continue
        with waiting(check.hint):
            findings = _run(check)
        failed.update(finding.name for finding in findings if finding.verdict == "problem")
        yield from findings


def _run(check: Check) -> list[Finding]:
    findings = []
    try:
        for finding in check.run():
            findings.append(finding)  # what came before an error counts
    except SerError as error:
        # The last part of such a message says what to do.
        sentence, _, remedy = str(error).rpartition("; ")
        findings.append(
            Finding(check.name, "problem", sentence or remedy, remedy if sentence else None)
        )
    except Exception as error:  # whatever breaks is what the doctor is there to tell
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = "please report this line together with the output of ser-live doctor --json"
        findings.append(Finding(check.name, "problem", f"the check failed ({reason})", remedy))
    return findings
