"""Play every odd file through the doors of the product and print what comes out of them.

``python tests/tools/odd_files.py`` takes minutes and writes docs/odd-files.md; names of files
limit it to these, and print the lines only.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import odd_doors, odd_files, serving

PAGE = Path(__file__).parents[2] / "docs" / "odd-files.md"
HEAD = Path(__file__).with_suffix(".md")


def rows(names: list[str], folder: Path) -> Iterator[tuple[str, odd_doors.Row]]:
    with serving.server("--max-uploads", 4) as server:
        for name in names:
            path = folder / name
            path.write_bytes(odd_files.made(name))
            yield name, odd_doors.row(path, server)
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all, into the page")
    arguments = parser.parse_args()
    return 0


if __name__ == "__main__":
    sys.exit(main())
