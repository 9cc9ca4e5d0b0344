"""Play all odd files through the doors of the product and write what comes out of them.

``python tests/tools/odd_files.py --report docs/odd-files.md`` takes minutes; ffmpeg and sox make
most of the files.
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

HEAD = """# Odd audio files

`{command}` makes {count} files of three seconds of voice, with every container, codec and fault of
a header that libsndfile, ffmpeg and sox can make here, and plays them through four doors: a file
(`ser-live --file`), an upload (`POST /v1/recognize`), a clip of a training (`ser-train`) and a pipe
(`ser-live --stdin`). The measure is what `ffmpeg -i FILE -f f32le -` decodes, within the padding of
the codec; how each file is made stands in
[odd_files.txt](../tests/helpers/odd_files.txt), what differs from ffmpeg and why in
[odd_outcomes.txt](../tests/helpers/odd_outcomes.txt), and
`pytest -m long tests/sources/test_odd_files.py` holds all of it.

- **whole**: what ffmpeg hears, without a note
- **told**: the same, with a note in seconds: the file is cut short, or its header promises more
- **part**, **damaged**: less than ffmpeg makes of it, and a note says how much that is
- **refused**: one line says why
"""
COMMAND = "python tests/tools/odd_files.py --report docs/odd-files.md"


def main() -> int:
    """Play the files and write the page; return 1 if an outcome is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="page to write")
    page = parser.parse_args().report
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
                outcomes = tuple(outcome for outcome, _ in found.values())
                wrong += [name] * any(found[door][0] != right.by(door) for door in doors)
                # What is heard whole everywhere is told by its kind, all else by its name.
                is_plain = set(outcomes) == {"whole"} and not right.why
                word = next((heard.word for _, heard in found.values() if heard.word), "")
                note = right.why or re.sub(r"[\d.]+ s", "N s", word.replace(f"{path}: ", ""))
                key = (path.suffix if is_plain else "", *outcomes, note)
                played.setdefault(key, []).append((name, right.truth.seconds))
    rows = []
    for (suffix, *seen, note), files in played.items():
        seconds = sorted({f"{seconds:.2f}" for _, seconds in files})
        names = (
            f"{len(files)} of {suffix}" if suffix else ", ".join(f"`{name}`" for name, _ in files)
        )
        rows.append((names, " to ".join(dict.fromkeys((seconds[0], seconds[-1]))), *seen, note))
    table = Table(("files", "ffmpeg, s", *doors, "note"), rows)
    head = HEAD.format(command=COMMAND, count=len(odd_files.RECIPES))
    page.write_text("\n".join((head, *table.lines())) + "\n", "utf-8")
    print(f"{len(odd_files.RECIPES)} files; not as expected: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
