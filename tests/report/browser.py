"""A headless Chromium driven over pipes with the DevTools protocol: what a page asks for, logs and shows."""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]


def executable() -> str | None:
    """The browser's path, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Page:
    """What became of a page.

    Attributes:
        requests: addresses that it asked for, its own among them.
        complaints: errors and warnings of the console, and exceptions.
        answer: of the script that was evaluated in it.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    answer: Any = None


def open_page(path: Path, script: str, profile: Path, *, seconds: float = 120) -> Page:
    """Open a file, wait until it has loaded, and evaluate a script in it."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    browser = executable()
    assert browser is not None
    line = f'exec "$0" "$@" 3<&{command_read} 4>&{answer_write}'
    process = subprocess.Popen(
        ["bash", "-c", line, browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(command_read, answer_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(command_read)
    os.close(answer_write)
    page, numbers, waiting = Page(), itertools.count(1), b""
    deadline = time.monotonic() + seconds
    loaded = False

    def receive() -> dict[str, Any]:
        nonlocal waiting, loaded
        while b"\0" not in waiting:
            ready, _, _ = select.select([answer_read], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(answer_read, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError(f"Chromium said nothing more in {seconds} s.")
            waiting += chunk
        message, _, waiting = waiting.partition(b"\0")
        content: dict[str, Any] = json.loads(message)
        kind, values = content.get("method"), content.get("params", {})
        if kind == "Network.requestWillBeSent":
            page.requests.append(values["request"]["url"])
        elif kind == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            page.complaints.append(str(values["args"]))
        elif kind == "Runtime.exceptionThrown":
            page.complaints.append(str(values["exceptionDetails"]))
        elif kind == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            page.complaints.append(values["entry"]["text"])
        elif kind == "Page.loadEventFired":
            loaded = True
        return content

    def call(method: str, session: str | None = None, **values: Any) -> dict[str, Any]:
        number = next(numbers)
        message = {"id": number, "method": method, "params": values, **({"sessionId": session} if session else {})}
        os.write(command_write, json.dumps(message).encode() + b"\0")
        while (content := receive()).get("id") != number:
            pass
        assert "error" not in content, content
        result: dict[str, Any] = content["result"]
        return result

    try:
        target = call("Target.createTarget", url="about:blank")["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            call(f"{domain}.enable", session)
        loaded = False
        call("Page.navigate", session, url=path.as_uri())
        while not loaded:
            receive()
        answer = call("Runtime.evaluate", session, expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        page.answer = answer["result"].get("value")
    finally:
        process.kill()
        process.wait()
        os.close(command_write)
        os.close(answer_read)
    return page
