"""Systems in processes of their own, asked for one round at a time, so that rounds of several can be interleaved.

The process that measures starts `python -m MODULE --serve ARGUMENTS`; that process calls `serve`. They speak one JSON
object a line; whatever libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from benchmarks.method import ROOT, environment, peak_mib

# What a system returns from a round: plain values, whatever the benchmark wants.
Round = dict[str, Any]


class Worker:
    """A system in a process of its own.

    Attributes:
        missing: what has to be installed for the system; empty when it is there.
        start_s: seconds from the start of the process until it was ready: interpreter, imports, networks.
        peak_mib: largest resident memory, known after `close`.

    Args:
        module: that calls `serve` when it gets `--serve`.
        arguments: what it gets behind that.
        threads: CPU threads; None leaves the libraries their own choice.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, threads: int | None) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--serve", *arguments],
            cwd=ROOT, env=environment(threads), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self.missing = ""
        self.peak_mib: float | None = None
        try:
            self.missing = self._answer().get("missing", "")
        except BaseException:
            self._stop()
            raise
        self.start_s = time.perf_counter() - begun

    def round(self) -> Round:
        """Let the system do its work once and return what it tells."""
        self._say("round")
        return self._answer()

    def close(self) -> None:
        """Let the process end, and learn its peak memory."""
        try:
            if not self.missing:
                self._say("end")
                self.peak_mib = float(self._answer()["peak_mib"])
            self._process.wait(timeout=60)
        finally:
            self._stop()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._stop()

    def _stop(self) -> None:
        """End the process, if it has not ended, and close what leads to it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Round:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"a system ended with {self._process.returncode}: {self._errors.read()[-2000:]}")
        told: Round = json.loads(line)
        return told


def serve(build: Callable[[], Callable[[], Round]]) -> None:
    """Answer the process that measures.

    Args:
        build: imports and loads everything and returns what does one round. An ImportError says that the system is not
            installed.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: Round) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    try:
        work = build()
    except ImportError as error:
        say({"missing": str(error)})
        return
    say({})
    for line in sys.stdin:
        if line.strip() != "round":
            break
        say(work())
    say({"peak_mib": peak_mib()})
