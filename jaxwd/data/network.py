"""Is a server there? Asked before TFDS is, which would retry for minutes."""

import socket
import threading
import urllib.parse
import urllib.request

_CONNECT_SECONDS = 3.0


def reachable(url: str, seconds: float = _CONNECT_SECONDS) -> bool:
    """Say whether a connection to the server (or the proxy set for it) opens soon."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    opened: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), seconds).close()
            opened.append(True)
        except OSError:
            pass

    # A thread, since looking up a name cannot be given a time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(opened)
