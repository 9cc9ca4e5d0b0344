"""What a server is told when it starts."""

from dataclasses import asdict, dataclass

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8321


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all of them, may ask of the server."""

    max_streams: int = 200
    """Open streams."""
    max_streams_per_address: int | None = None
    """Of these, from one address."""
    max_frame_bytes: int = 1 << 20
    """Of one WebSocket message."""
    max_bytes_per_second: int = 4_000_000
    """Of one stream, in the long run; a message counts as `COUNTED_BYTES` at least."""
    max_seconds: float = 14400.0
    """Longest stream or recording."""
    idle_seconds: float = 60.0
    """Longest silence on the line."""
    start_seconds: float = 10.0
    """From the connection to the start message."""
    max_unsent: int = 256
    """Messages of one stream that may wait for a slow reader; its audio waits meanwhile."""
    unsent_seconds: float = 10.0
    """So long may a reader take nothing at all."""
    max_upload_bytes: int = 100 << 20
    """Of one recording."""
    max_uploads: int = 4
    """Recordings at a time."""

    def of_a_stream(self) -> dict[str, object]:
        """Give those that a client can keep to."""
        told = ("max_frame_bytes", "max_bytes_per_second", "max_seconds", "idle_seconds")
        values = asdict(self)
        return {name: values[name] for name in (*told, "max_unsent", "unsent_seconds")}


COUNTED_BYTES = 512
"""What the smallest message counts: a flood of tiny ones costs as much as one of large ones."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of it."""

    host: str = DEFAULT_HOST
    """Name or address to listen on."""
    port: int = DEFAULT_PORT
    """0: a free one."""
    is_loopback: bool = True
    """Nobody outside this machine can connect."""
    token: str | None = None
    """What a client must show; None: nothing."""
    origins: tuple[str, ...] = ()
    """Web pages from elsewhere that may connect, as ``https://name``."""
    hosts: tuple[str, ...] = ()
    """Names under which the server is known, beside its own."""
    models: tuple[str, ...] = ()
    """Names or paths that are served beside the shipped ones; the first is the default."""
    certificate: str | None = None
    key: str | None = None
    """PEM files, for https and wss."""
    log_level: str = "info"
    limits: Limits = Limits()
