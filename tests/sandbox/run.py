"""Start the sandbox as a process of its own, for tests and the demo."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Running:
    """A running sandbox: `addresses` are the credentials by peer name, and "pid"."""

    addresses: dict[str, Any]
    process: subprocess.Popen[str]

    def stop(self, wait_s: float = 5.0) -> None:
        """End it and wait."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(arguments: Sequence[str] = (), *, wait_s: float = 20.0) -> Running:
    """Start `python -m tests.sandbox --json` and return when all peers answer.

    Raises: RuntimeError when it ends or says nothing within `wait_s`.
    """
    command = [sys.executable, "-m", "tests.sandbox", "--json", "--with-parent", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    until = time.monotonic() + wait_s
    while time.monotonic() < until and process.poll() is None:
        if select.select([process.stdout], [], [], 0.2)[0]:
            line = process.stdout.readline()
            if line.startswith("{"):
                return Running(json.loads(line), process)
    Running({}, process).stop()
    raise RuntimeError(f"the sandbox did not start within {wait_s} s (exit code {process.returncode})")
