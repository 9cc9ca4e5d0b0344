"""Health of a server from outside: for containers and service managers without a client of HTTP."""

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from ser_live.server.settings import OWN_NAMES, PROGRAM, Settings
from ser_live.text import sanitize

_TIMEOUT_SECONDS = 4.0


def check_health(settings: Settings) -> int:
    """Ask the server that runs with these settings; return 0, or 1 and say what came."""
    host = OWN_NAMES.get(settings.host, settings.host)
    if settings.certificate is None:
        connection = HTTPConnection(host, settings.port, _TIMEOUT_SECONDS)
    else:
        # The certificate is for the public name, and this is the machine itself.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(host, settings.port, timeout=_TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        came = f"{answer.status} {answer.reason}"
    except (OSError, HTTPException) as error:
        came = sanitize(error)
    finally:
        connection.close()
    if came == "200 OK":
        return 0
    print(f"{PROGRAM}: {host} port {settings.port} is not healthy: {came}", file=sys.stderr)
    return 1
