"""ser-serve: many voices at once, a page to look at, an API to build on.

Importing this package is instant; what the server is made of comes with the extra ``serve``.
"""

from collections.abc import Sequence

_NEEDED = ("fastapi", "starlette", "pydantic", "uvicorn", "websockets", "prometheus_client")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ser-serve`` and return its exit code; without the extra say so in one line."""
    from ser_live.command_line import exit_code_of  # noqa: PLC0415 - main is not always wanted

    return exit_code_of("ser-serve", lambda: _serve(argv))


def _serve(argv: Sequence[str] | None) -> int:
    from ser_live.errors import SerError  # noqa: PLC0415
    from ser_live.server.settings import parse  # noqa: PLC0415

    settings = parse(argv)
    try:
        from ser_live.server.uvicorn_server import serve  # noqa: PLC0415 - --help needs none of it
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise SerError(f"{error}; the server needs: pip install 'ser-live[serve]'") from error
    return serve(settings)
