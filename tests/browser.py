"""Chromium without a window, driven through its DevTools pipe; no package needed."""

import base64
import fcntl
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import time

import pytest

KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Page:
    """One open page of one browser, and what it said and asked for."""

    def __init__(self, folder, width=1280, height=900):
        self.numbers, self.left = itertools.count(1), b""
        self.requests, self.said, self.seen = [], [], []
        theirs_in, self.out = os.pipe()
        self.inn, theirs_out = os.pipe()
        command = [
            chromium(), "--headless=new", "--no-sandbox", "--disable-gpu",
            "--remote-debugging-pipe", "--no-first-run", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-component-update",
            "--hide-scrollbars", f"--user-data-dir={folder}", "about:blank",
        ]  # fmt: skip
        # Chromium looks for its pipe at 3 and 4; bash puts it there, without a fork of
        # this process, which JAX warns of.
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        words = f'exec "$@" 3<&{moved[0]} 4>&{moved[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", words, "chromium", *command],
            pass_fds=moved,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (theirs_in, theirs_out, *moved):
            os.close(fd)
        self.session = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")
        self("Browser.grantPermissions", permissions=["clipboardReadWrite"], root=True)
        self.resize(width, height)

    def __call__(self, method, root=False, **params):
        """Send one command and return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session and not root:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        for got in self._messages():
            if got.get("id") == number:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']['message']}")
                return got["result"]
        raise TimeoutError(method)

    def _messages(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while b"\0" in self.left:
                message, self.left = self.left.split(b"\0", 1)
                got = json.loads(message)
                self._note(got.get("method"), got.get("params", {}))
                yield got
            if select.select([self.inn], [], [], 0.2)[0]:
                self.left += os.read(self.inn, 1 << 20)

    def _note(self, event, params):
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.said.append(
                details.get("exception", {}).get("description", str(details))
            )
        elif event == "Runtime.consoleAPICalled":
            if params["type"] in ("error", "warning", "assert"):
                self.said.append(str([a.get("value") for a in params["args"]]))
        elif event == "Log.entryAdded":
            self.said.append(params["entry"]["text"])

    def resize(self, width, height, mobile=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=mobile,
        )  # fmt: skip

    def open(self, path):
        """Open a file and wait until its charts stand; return the seconds it took."""
        began = time.monotonic()
        self("Page.navigate", url=pathlib.Path(path).resolve().as_uri())
        while self.js(
            "location.protocol + document.documentElement?.dataset.ready"
        ) != ("file:yes"):
            trouble = self.js("document.getElementById('trouble')?.textContent")
            assert not trouble, trouble
            assert time.monotonic() - began < 30, self.said
            time.sleep(0.02)
        return time.monotonic() - began

    def js(self, expression):
        got = self(
            "Runtime.evaluate",
            expression=expression, awaitPromise=True, returnByValue=True, userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def move(self, x, y):
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector):
        """Scroll to an element and press the mouse in its middle."""
        x, y = self.middle(selector)
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", clickCount=1,
            )  # fmt: skip

    def middle(self, selector):
        where = json.dumps(selector)
        return self.js(
            f"(() => {{ const e = document.querySelector({where});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )

    def key(self, name):
        text = {"Enter": "\r", " ": " "}.get(name, "")
        for kind in ("keyDown", "keyUp"):
            self(
                "Input.dispatchKeyEvent",
                type=kind, key=name, text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=KEYS[name],
            )  # fmt: skip

    def picture(self, path):
        """Write a screenshot of the whole page."""
        height = self.js("document.documentElement.scrollHeight")
        width = self.js("innerWidth")
        got = self(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
        )
        pathlib.Path(path).write_bytes(base64.b64decode(got["data"]))

    def pdf(self):
        got = self("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(got["data"])

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.out)
        os.close(self.inn)


def chromium():
    """Return the browser's path; without one skip, or fail where it is demanded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    say = "needs Chromium: `apt-get install chromium`"
    if os.environ.get("JAXWD_NEEDS_CHROMIUM"):
        pytest.fail(f"{say} (JAXWD_NEEDS_CHROMIUM is set)")
    pytest.skip(say)
