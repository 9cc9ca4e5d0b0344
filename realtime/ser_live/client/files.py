"""A whole recording, over HTTP."""

import contextlib
import http.client
import io
import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ser_live.client.address import DEFAULT_SERVER, Address, require_timeout
from ser_live.client.messages import ServerError, decode, record, refused, unreachable
from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance, UtteranceChoice
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.prediction import Prediction
from ser_live.stream_protocol import Ended, Started
from ser_live.text import quoted, sanitize

_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """Everything that a server recognized in a recording."""

    model: str
    sample_rate_hz: int
    channels: int
    seconds: float
    predictions: tuple[Prediction, ...]
    segments: tuple[Segment, ...]
    events: tuple[Event, ...]
    notes: tuple[str, ...]
    """Damage of the file that was met."""
    utterances: tuple[Utterance, ...] = ()
    """Only where they were asked for."""


def recognize_file(
    path: str | os.PathLike[str],
    server: str = DEFAULT_SERVER,
    *,
    model: str | None = None,
    hop_seconds: float | None = None,
    window_seconds: float | None = None,
    smoothing_seconds: float | None = None,
    vad: bool | None = None,
    prior: str | Mapping[str, float] | None = None,
    labels: Sequence[str] | None = None,
    utterances: UtteranceChoice = False,
    use_channels: str | None = None,
    token: str | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Recognition:
    """Send a recording to a server and return all that it recognized.

    >>> from ser_live.client import recognize_file
    >>> recognition = recognize_file(recording, server)
    >>> recognition.predictions[0].state
    'silence'

    Parameters
    ----------
    path : path
        Anything that libsndfile reads: WAV, FLAC, Ogg, MP3 ...
    server : str
        The address that ``ser-serve`` printed.
    model, hop_seconds, window_seconds, smoothing_seconds, vad, prior
        As in `ser_live.StreamRecognizer`; None: the server's defaults.
    labels : sequence of str or None
        Give the probabilities of these alone.
    utterances : bool or str
        Also give each `Utterance`.
    use_channels : str or None
        "split", "left", "right" or "1,3": channels apart, as in `ser_live.listen`.
    token : str or None
        Where the server wants one, and the address does not hold it.
    timeout_seconds : float
        For the server to take or give the next bytes.

    Raises
    ------
    ServerError
        If the server will not have it; ``connection_lost`` where the answer is not whole.
    SerError
        If the file or an option cannot be sent, or no server answers.
    """
    address = Address.parse(server, token)
    told: dict[str, Any] = {
        "model": model, "hop_seconds": hop_seconds, "window_seconds": window_seconds,
        "smoothing_seconds": smoothing_seconds, "vad": None if vad is None else str(vad).lower(),
        "prior": prior, "labels": labels,
        "utterances": str(utterances).lower() if utterances else None,
        "use_channels": use_channels,
    }  # fmt: skip
    told = {k: v for k, v in told.items() if v is not None}
    try:
        if not isinstance(prior, str | None):
            told["prior"] = json.dumps(dict(prior))
        query = urllib.parse.urlencode(told, doseq=True)
    except (TypeError, ValueError) as error:
        raise SerError(
            f"the options of the recording are {quoted(told)}, wanted texts and numbers "
            f"({sanitize(error)})"
        ) from error
    return _posted(address, Path(path), query, require_timeout(timeout_seconds))


def _posted(address: Address, path: Path, query: str, timeout_seconds: float) -> Recognition:
    kind = http.client.HTTPSConnection if address.is_secure else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=timeout_seconds)
    try:
        recording: BinaryIO = path.open("rb")
        if not path.is_file():  # of a pipe nothing tells how long it is
            with recording:
                recording = io.BytesIO(recording.read())
        size = recording.seek(0, os.SEEK_END)
        recording.seek(0)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerError(f"{sanitize(path)}: cannot read it ({reason})") from error
    with recording:
        headers = {
            **address.headers,
            "Accept": "application/x-ndjson",  # no server has to keep an answer for us
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
        }
        target = f"{address.folder}/v1/recognize" + (f"?{query}" if query else "")
        try:
            _send(connection, target, recording, headers)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise refused(address, answer.status, answer.read())
            return _recognition(address, answer)
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(address, error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SerError(
                f"{address}: no answer of POST /v1/recognize ({sanitize(repr(error))}); is that a "
                "server of ser-live, of about this version?"
            ) from error
        finally:
            connection.close()


def _send(
    connection: http.client.HTTPConnection, target: str, body: object, headers: dict[str, str]
) -> None:
    try:
        connection.request("POST", target, body=body, headers=headers)  # type: ignore[arg-type]
    except (BrokenPipeError, ConnectionResetError):
        # It may have answered, and closed, before it had everything: that answer says why.
        if connection.sock is None:
            raise


def _whole(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Give the lines that came whole: where the connection is lost, the last one may be cut."""
    with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
        for line in lines:
            if line.endswith(b"\n"):
                yield line


def _recognition(address: Address, lines: Iterable[bytes]) -> Recognition:
    found: dict[type, list[Any]] = {Prediction: [], Segment: [], Event: [], Utterance: []}
    head: dict[str, Any] = {}
    for line in _whole(lines):
        item = decode(line)
        if isinstance(item, ServerError):
            raise item
        if isinstance(item, Started | Ended):
            head |= json.loads(line)
        else:
            found[type(item)].append(item)
    if head and "notes" not in head:
        lost = "the connection was lost before the answer was whole; send the recording again"
        raise ServerError("connection_lost", f"{address}: {lost}")
    return record(
        Recognition,
        head,
        model=head["model"]["name"],
        predictions=tuple(found[Prediction]),
        segments=tuple(found[Segment]),
        events=tuple(found[Event]),
        notes=tuple(head["notes"]),
        utterances=tuple(found[Utterance]),
    )
