"""The options of ``python tests/tools/load``."""

import argparse
from pathlib import Path

from ser_live.command_line import Parser

_EPILOG = """\
exit codes: 0 all that is promised was kept, 1 something was not, 2 a mistake in the options or no
server, 130 Ctrl-C, 143 SIGTERM.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all three tools."""
    parser = Parser(
        prog="tools.load",
        usage="python tests/tools/load {streams,churn,hostile} ...",
        description="Measure a ser-live server, and torment it.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    tools = parser.add_subparsers(dest="tool", required=True, metavar="TOOL")
    _add_streams(tools)
    _add_churn(tools)
    _add_hostile(tools)
    return parser


def _add_streams(tools: "argparse._SubParsersAction[Parser]") -> None:
    tool = _tool(tools, "streams", "more and more voices at once, up to the breaking point")
    tool.add_argument("--first", type=int, metavar="N", help="streams of the first step")
    tool.add_argument("--step", type=int, default=20, metavar="N", help="more in each; default 20")
    tool.add_argument("--most", type=int, default=300, metavar="N", help="default 300")
    tool.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="measured in each step; default 20"
    )
    tool.add_argument(
        "--settle", type=float, default=5.0, metavar="S", help="before that; default 5"
    )
    tool.add_argument(
        "--beyond", type=int, default=2, metavar="N",
        help="steps after the first that broke a promise; default 2",
    )  # fmt: skip
    tool.add_argument(
        "--wanted", type=int, default=80, metavar="N", help="streams that are promised; default 80"
    )
    tool.add_argument(
        "--limit-ms", type=float, default=100.0, metavar="MS",
        help="p95 from the last sample of a hop to its message that is promised; default 100",
    )  # fmt: skip
    tool.add_argument(
        "--continuous", action="store_true", help="speech without its pauses: the dearest input"
    )
    tool.add_argument(
        "--together", action="store_true", help="all begin at the same moment: the worst case"
    )
    _add_voice(tool)
    _add_common(tool)


def _add_churn(tools: "argparse._SubParsersAction[Parser]") -> None:
    tool = _tool(tools, "churn", "connect, speak and be gone, politely or not")
    tool.add_argument("--cycles", type=int, default=10_000, metavar="N", help="default 10000")
    tool.add_argument(
        "--at-once", type=int, default=16, metavar="N", help="visitors at any moment; default 16"
    )
    tool.add_argument(
        "--speak", type=float, default=2.0, metavar="S",
        help="seconds that a visit says if it stays to the end; default 2",
    )  # fmt: skip
    tool.add_argument("--seed", type=int, default=0, metavar="N", help="of who leaves how")
    _add_voice(tool)
    _add_common(tool)


def _add_hostile(tools: "argparse._SubParsersAction[Parser]") -> None:
    tool = _tool(tools, "hostile", "what no client should do, while a good one listens")
    tool.add_argument("--minutes", type=float, default=30.0, metavar="N", help="default 30")
    tool.add_argument(
        "--at-once", type=int, default=8, metavar="N", help="attackers at any moment; default 8"
    )
    tool.add_argument("--seed", type=int, default=0, metavar="N", help="of what they do")
    _add_voice(tool)
    _add_common(tool)


def _tool(tools: "argparse._SubParsersAction[Parser]", name: str, about: str) -> Parser:
    return tools.add_parser(
        name,
        prog=f"tools.load {name}",
        usage=f"python tests/tools/load {name} ...",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )


def _add_voice(tool: Parser) -> None:
    tool.add_argument(
        "--rate", type=int, default=16000, metavar="HZ", help="of the voices; default 16000"
    )
    tool.add_argument("--format", choices=("s16le", "f32le"), default="s16le")
    tool.add_argument(
        "--block-ms", type=int, default=100, metavar="MS", help="of a message; default 100"
    )
    tool.add_argument("--hop", type=float, default=0.25, metavar="S", help="default 0.25")


def _add_common(tool: Parser) -> None:
    tool.add_argument(
        "--server", metavar="URL", help="one that runs, its token in it; default: start one"
    )
    tool.add_argument("--pid", type=int, metavar="N", help="its process, to look at")
    tool.add_argument("--token", metavar="T", help="what opens it")
    tool.add_argument("--model", metavar="NAME", help="of the server; default: its default")
    tool.add_argument("--report", type=Path, metavar="FILE.md", help="also write FILE.json there")
    tool.add_argument("--json", action="store_true", help="print the report as JSON")
