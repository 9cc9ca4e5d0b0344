"""Play all odd files through the doors of the product and write the table of what is heard.

``python tests/tools/odd_files.py docs/odd-files.md`` takes minutes, with ffmpeg and sox.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from helpers import odd_doors, odd_files, serving
from ser_live.testing import write_tiny_model
from tools.report import Table

TABLE = "| files |"


def main() -> int:
    """Play the files and write the table; return 1 if an outcome is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="its table is replaced")
    page = parser.parse_args().page
    played: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder, "tiny.onnx"))
        with serving.server("--model", model) as server:
            doors = odd_doors.doors(server)
            for name in odd_files.RECIPES:
                path = Path(folder, name)
                path.write_bytes(odd_files.made(name))
                right = odd_doors.expected(path)
                found = odd_doors.play(path, right, doors)
                outcomes = [outcome for outcome, _ in found.values()]
                wrong += [name] * any(found[door][0] != right.by(door) for door in doors)
                word = next((heard.word for _, heard in found.values() if heard.word), "")
                word = word.replace(f"{path}: ", "").replace(f"{name}: ", "")
                note = right.why or re.sub(r"[\d.]+ s\b", "N s", word)
                # What is heard whole everywhere is told by its kind, all else by its name.
                kind = path.suffix * (set(outcomes) == {"whole"} and not note)
                played.setdefault((kind, *outcomes, note), []).append((name, right.truth.seconds))
    rows = []
    for (kind, *cells), files in sorted(played.items()):
        names = f"{len(files)} more {kind}" if kind else ", ".join(f"`{n}`" for n, _ in files)
        seconds = sorted(f"{seconds:.2f}" for _, seconds in files)
        rows.append((names, " to ".join(sorted({seconds[0], seconds[-1]})), *cells))
    table = Table(("files", "ffmpeg, s", *doors, "note"), rows)
    head = page.read_text("utf-8").partition(TABLE)[0]
    page.write_text(head + "\n".join(table.lines()) + "\n", "utf-8")
    print(f"{len(odd_files.RECIPES)} files; not as expected: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
