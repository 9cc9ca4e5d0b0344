"""ser-serve: many voices at once, a page to look at, an API to build on.

Importing this package is instant; what the server is made of comes with the extra ``serve``.
"""

import sys
from collections.abc import Sequence

_NEEDED = ("fastapi", "starlette", "pydantic", "uvicorn", "websockets", "prometheus_client")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ser-serve`` and give its exit code; without the extra say so in one line."""
    from ser_live.command_line import USER_ERROR  # noqa: PLC0415 - main is not always wanted
    from ser_live.errors import SerError  # noqa: PLC0415
    from ser_live.server.settings import parse  # noqa: PLC0415

    try:
        settings = parse(argv)
        from ser_live.server.running import serve  # noqa: PLC0415 - --help needs none of it

        return serve(settings)
    except KeyboardInterrupt:  # before it runs; later it drains
        return 130
    except SerError as error:
        reason = str(error)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        reason = f"{error}; the server needs: pip install 'ser-live[serve]'"
    print(f"ser-serve: error: {reason}", file=sys.stderr)
    return USER_ERROR
