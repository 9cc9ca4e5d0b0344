"""The real nginx with the sample of the documentation, on free ports and with a new certificate."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers import serving

SAMPLE = Path(__file__).parents[2] / "docs" / "deploy" / "nginx.conf"
NAME = "voice.example"

_SECONDS = 20.0
_AROUND = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log off;
    {temporary}
    include {folder}/site.conf;
}}
"""
_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

is_installed = pytest.mark.skipif(
    not (shutil.which("nginx") and shutil.which("openssl")), reason="nginx is not installed"
)


class Nginx:
    """An nginx that runs.

    Parameters
    ----------
    folder : Path
        With its files.
    port : int
        It listens on.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.certificate = folder / "certificate.pem"
        """Signed by itself, for `NAME` and 127.0.0.1."""
        self.url = f"https://127.0.0.1:{port}/ser"


@contextlib.contextmanager
def running(folder: Path, replicas: Sequence[int], **other: str) -> Iterator[Nginx]:
    """Run the sample before replicas on ports, with lines of it changed as given."""
    certificate, key = serving.certificate(folder, NAME)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    changed = {
        "127.0.0.1:8321": f"127.0.0.1:{replicas[0]}",
        "127.0.0.1:8322": f"127.0.0.1:{replicas[-1]}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/voice.example/fullchain.pem": str(certificate),
        "/etc/ssl/voice.example/key.pem": str(key),
        **other,
    }
    site = SAMPLE.read_text("utf-8").partition("\n\n")[2]
    for line, instead in changed.items():
        assert line in site
        site = site.replace(line, instead)
    (folder / "site.conf").write_text(site)
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in _KINDS)
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, temporary=temporary))
    with subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]) as nginx:
        try:
            _wait_for(port, folder)
            yield Nginx(folder, port)
        finally:
            nginx.terminate()
            nginx.wait(_SECONDS)


def _wait_for(port: int, folder: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline, (folder / "error.log").read_text()
        time.sleep(0.05)
