"""The page: its document, which browsers ask for again, and its files, which they keep."""

import hashlib
import os
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

_FOLDER = Path(__file__).parent / "page"
_VERSION = re.compile("[0-9a-f]{16}")
_FOR_A_YEAR = "public, max-age=31536000, immutable"


class PageFiles(StaticFiles):
    """Files of the page: ``/page/NAME`` is asked for again, ``/page/VERSION/NAME`` is kept.

    The modules import each other relatively: a version in the path of the first one is in that of
    all, and no browser ever mixes those of two releases.
    """

    path = "/page"

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)
        digest = hashlib.sha256()
        for file in sorted(_FOLDER.iterdir()):
            digest.update(file.name.encode() + file.read_bytes())
        self._version = digest.hexdigest()[:16]
        document = (_FOLDER / "index.html").read_text("utf-8")
        self._document = document.replace('"page/', f'"page/{self._version}/')

    async def document(self, request: Request) -> Response:
        """Answer ``GET /``."""
        headers = {"ETag": f'"{self._version}"', "Cache-Control": "no-cache"}
        answer = HTMLResponse(self._document, headers=headers)
        if self.is_not_modified(answer.headers, request.headers):
            return NotModifiedResponse(answer.headers)
        return answer

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        version, _, name = path.partition(os.sep)
        # A page of another release may ask for its last file late; it is not kept as that.
        answer = await super().get_response(name if _VERSION.fullmatch(version) else path, scope)
        is_ours = version == self._version
        answer.headers["Cache-Control"] = _FOR_A_YEAR if is_ours else "no-cache"
        return answer
