"""Chromium without a screen, driven through a pipe in its own protocol (Chrome DevTools)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


class Browser:
    """One browser, to be used inside `with`. Its pages are known by the id of their session."""

    def __init__(self, folder: Path, *flags: str):
        """folder: for its profile. flags: more of them."""
        self.count, self.read, self.requests = 0, b"", set()
        ours, theirs = zip(
            *(pair if write else pair[::-1] for write, pair in ((0, os.pipe()), (1, os.pipe())))
        )
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in theirs]  # 3 and 4 must be free
        command = [CHROMIUM, f"--user-data-dir={folder}", *FLAGS, *flags, "about:blank"]
        shell = ["bash", "-c", f'exec "$@" 3<&{high[0]} 4>&{high[1]}', "chromium", *command]
        self.process = subprocess.Popen(shell, pass_fds=high, stderr=subprocess.DEVNULL)
        for end in (*theirs, *high):
            os.close(end)
        self.commands, self.answers = ours

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self.commands)
        os.close(self.answers)

    def call(self, method: str, page: str | None = None, **parameters) -> dict:
        """Return the result of a command. Requests meanwhile are noted."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        text = json.dumps({**message, **({"sessionId": page} if page else {})}).encode() + b"\0"
        while text:
            text = text[os.write(self.commands, text) :]
        while True:
            while b"\0" not in self.read:
                assert select.select([self.answers], [], [], 60)[0], f"no answer to {method}"
                more = os.read(self.answers, 1 << 20)
                assert more, "the browser has ended"
                self.read += more
            text, _, self.read = self.read.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            if answer["method"] == "Network.requestWillBeSent":
                self.requests.add(answer["params"]["request"]["url"][:100])

    def open(self, address: str, width: int = 1200, height: int = 1000, dark: bool = False) -> str:
        """Return a new page at an address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable", page)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", page, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", page, features=[scheme])
        self.call("Page.navigate", page, url=address)
        return page

    def run(self, page: str, script: str) -> object:
        """Return the value of a JavaScript expression."""
        options = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        result = self.call("Runtime.evaluate", page, expression=script, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, page: str, script: str, seconds: float = 60) -> object:
        """Return the value of a JavaScript expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(page, script)):
            assert time.monotonic() < end, f"in vain for {seconds} s: {script}"
            time.sleep(0.2)
        return value

    def click(self, page: str, text: str, tag: str = "button") -> None:
        """Click the first visible element of a kind with this text."""
        shown = "e.checkVisibility() && e.innerText.trim()"
        first = f"[...document.querySelectorAll('{tag}')].find(e => {shown}.startsWith({json.dumps(text)}))"
        self.wait(page, f"(e => e ? (e.click(), true) : false)({first})")

    def upload(self, page: str, selector: str, files: list[Path]) -> None:
        root = self.call("DOM.getDocument", page)["root"]["nodeId"]
        node = self.call("DOM.querySelector", page, nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", page, nodeId=node, files=list(map(str, files)))

    def screenshot(self, page: str, path: Path) -> None:
        self.call("Page.bringToFront", page)  # one behind another is not drawn, and there is no picture
        data = self.call("Page.captureScreenshot", page, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self, page: str) -> None:
        self.call("Page.close", page)

    def hosts(self) -> set[str]:
        """Return the hosts that all pages so far have asked for anything."""
        addresses = map(urlsplit, self.requests)
        return {each.hostname for each in addresses if each.scheme not in ("data", "blob", "about")}
