"""ser-serve: many voices at once, a page to look at, an API to build on.

`create_app` makes the application for any ASGI server, as ``ser-serve`` does: a `ServeApp`, from
`Settings`. Importing this package is instant; what the server is made of comes with the extra
``serve``, and is loaded when it is first used.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from ser_live.errors import SerError

if TYPE_CHECKING:  # "as" says that they are public
    from ser_live.server.app import ServeApp as ServeApp
    from ser_live.server.app import create_app as create_app
    from ser_live.server.settings import Settings as Settings

_HOMES = {"ServeApp": "app", "Settings": "settings", "create_app": "app"}
__all__ = ["ServeApp", "Settings", "create_app", "main"]
_NEEDED = ("fastapi", "starlette", "pydantic", "uvicorn", "websockets", "prometheus_client")


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'ser_live.server' has no attribute {name!r}")
    with _extra():
        return getattr(import_module(f"ser_live.server.{_HOMES[name]}"), name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ser-serve`` and return its exit code; without the extra say so in one line."""
    from ser_live.command_line import exit_code_of  # noqa: PLC0415 - main is not always wanted

    return exit_code_of("ser-serve", lambda: _serve(argv))


def _serve(argv: Sequence[str] | None) -> int:
    from ser_live.server.settings import parse  # noqa: PLC0415

    settings = parse(argv)
    is_service = sys.stdin is None or not sys.stdin.isatty()
    if (settings.tokens is not None or is_service) and hasattr(signal, "SIGHUP"):
        # It would end the process, as it shall where a terminal is closed. The file of tokens is
        # read after this; without one a service that is reloaded goes on.
        with suppress(ValueError):  # in another thread than the main one there are no signals
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _extra():
        from ser_live.server.uvicorn_server import serve  # noqa: PLC0415 - --help needs none of it
    return serve(settings)


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise SerError(f"{error}; the server needs: pip install 'ser-live[serve]'") from error
