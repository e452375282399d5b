"""Processes that see each other come, stay and leave, by one connection each.

JAX has a heartbeat of its own. Where a process is missing when a job starts, or is
lost, it ends the others by SIGABRT with a stack trace; until then a collective waits.
So process 0 calls the roll before JAX starts, and the connections stay: each is watched
by a thread, and who loses the other says so in one line and ends.

Like JAX's own coordinator this trusts its network: who can connect can stop the job.
"""

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from typing import Any

from jaxwd.errors import InputError

LOST = 4
"""Exit code of a process whose job has lost another one."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CALL = "jaxwd"


class Watch:
    """The connections of one process: to all others from process 0, else to process 0.

    Attributes:
        index: this process's number.
        count: how many there are.
        lost_after: seconds of silence after which a process counts as lost.
    """

    def __init__(self, index: int, count: int, lost_after: float) -> None:
        self.index, self.count, self.lost_after = index, count, lost_after
        self._links: dict[int, socket.socket] = {}
        self._heard: dict[int, float] = {}
        self._left: set[int] = set()
        self._lock = threading.Lock()
        self._open = True

    def start(self) -> None:
        """Watch in the background."""
        now = time.monotonic()
        for number, link in self._links.items():
            link.settimeout(5)
            self._heard[number] = now
        threading.Thread(target=self._watch, daemon=True, name="jaxwd-watch").start()

    def leave(self) -> None:
        """Say that this process ends because it is done."""
        self._tell({"left": self.index})

    def tell_lost(self, why: str) -> None:
        """Say that this process ends by an error, and by which; watch no longer.

        The others end for it, which would be taken for a loss of theirs.
        """
        self._open = False
        self._tell({"lost": self.index, "why": why})

    def close(self) -> None:
        """Stop watching; others that have not heard `leave` take it for a loss."""
        self._open = False
        for link in self._links.values():
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def _tell(self, word: dict[str, Any]) -> None:
        with self._lock:
            for link in self._links.values():
                with contextlib.suppress(OSError):
                    link.sendall(json.dumps(word).encode() + b"\n")

    def _watch(self) -> None:
        with selectors.DefaultSelector() as chosen:
            for number, link in self._links.items():
                chosen.register(link, selectors.EVENT_READ, number)
            told = 0.0
            while self._open:
                if time.monotonic() - told > self.lost_after / 4:
                    self._tell({})
                    told = time.monotonic()
                for key, _ in chosen.select(min(1.0, self.lost_after / 8)):
                    if not self._hear(key.data):
                        chosen.unregister(key.fileobj)
                for number, last in self._heard.items():
                    silent = time.monotonic() - last
                    if silent > self.lost_after and number not in self._left:
                        self._lose(number, f"silent for {silent:.0f} s")

    def _hear(self, number: int) -> bool:
        """Take what a process says; return whether it may say more."""
        try:
            words = self._links[number].recv(4096)
        except TimeoutError:
            return True
        except OSError:
            words = b""
        if not self._open:
            return False
        self._heard[number] = time.monotonic()
        if not words:
            if number not in self._left:
                self._lose(number, "its connection closed")
            return False
        for line in words.splitlines():
            with contextlib.suppress(ValueError):
                word = json.loads(line)
                self._left |= {word["left"]} if "left" in word else set()
                if "lost" in word:
                    self._lose(word["lost"], word["why"])
        return True

    def _lose(self, number: int, why: str) -> None:
        """End this process; process 0 tells the others first which one it was."""
        if self.index == 0:
            self._tell({"lost": number, "why": why})
        line = (
            f"error: process {number} of {self.count} is lost ({why}); process "
            f"{self.index} ends, code {LOST}: start all again, with checkpoints the "
            "training goes on\n"
        )
        os.write(2, line.encode())
        os._exit(LOST)  # Python's own end would wait for the collective that hangs


def call_the_roll(
    address: tuple[str, int], count: int, wait: float, lost_after: float
) -> tuple[Watch, int]:
    """Wait for all others, tell them the port of JAX's service; process 0."""
    host, port = address
    here = f"{host}:{port}"
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    watch, until = Watch(0, count, lost_after), time.monotonic() + wait
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((host if host in _LOOPBACK else "", port))
        except OSError as error:
            raise InputError(
                f"coordinator={here}: process 0 cannot listen there: "
                f"{error.strerror or error}; give a free port of its own host"
            ) from None
        door.listen(count)
        while len(watch._links) < count - 1:
            left = until - time.monotonic()
            if left <= 0:
                missing = set(range(1, count)) - set(watch._links)
                watch.close()
                raise InputError(
                    f"process 0 waited {wait:g} s at {here} and of {count} processes "
                    f"missed {', '.join(map(str, sorted(missing)))}; start all with one "
                    "coordinator and one processes="
                )
            door.settimeout(left)
            try:
                link, _ = door.accept()
            except TimeoutError:
                continue
            _admit(watch, link, min(5.0, wait))
    with socket.socket(family, socket.SOCK_STREAM) as free:
        free.bind((host if host in _LOOPBACK else "", 0))
        service = free.getsockname()[1]
    watch._tell({"service": service})
    return watch, service


def _admit(watch: Watch, link: socket.socket, wait: float) -> None:
    """Take a process in; refuse one that belongs elsewhere or has been here."""
    link.settimeout(wait)
    try:
        word = json.loads(link.makefile("rb").readline(256))
        number = word[_CALL]
    except (OSError, ValueError, KeyError, TypeError):
        link.close()
        return
    if word["count"] != watch.count:
        no = f"it has processes={watch.count}, this one {word['count']}"
    elif number in watch._links or not 0 < number < watch.count:
        no = f"there is a process {number} already"
    else:
        watch._links[number] = link
        return
    with contextlib.suppress(OSError):
        link.sendall(json.dumps({"no": no}).encode() + b"\n")
    link.close()


def answer_the_roll(
    address: tuple[str, int], count: int, index: int, wait: float, lost_after: float
) -> tuple[Watch, int]:
    """Find process 0, wait until all are there; the others."""
    here = f"{address[0]}:{address[1]}"
    until = time.monotonic() + wait
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise InputError(
                f"process {index} found no process 0 at {here} within {wait:g} s; "
                "is it started, and is the address right?"
            )
        try:
            link = socket.create_connection(address, timeout=left)
            break
        except OSError:
            time.sleep(min(0.2, max(left, 0)))
    try:
        link.sendall(json.dumps({_CALL: index, "count": count}).encode() + b"\n")
        link.settimeout(max(until - time.monotonic(), 0.1))
        said = json.loads(link.makefile("rb").readline(256) or b"{}")
    except (OSError, ValueError):
        said = {}
    if "service" not in said:
        link.close()
        late = time.monotonic() >= until
        why = said.get(
            "no",
            f"not all {count} processes came within {wait:g} s"
            if late
            else "it ended, or is no process of jaxwd",
        )
        raise InputError(
            f"process {index} was not taken in by process 0 at {here}: {why}"
        )
    watch = Watch(index, count, lost_after)
    watch._links[0] = link
    return watch, said["service"]
