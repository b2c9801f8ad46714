"""Processes of this machine: what dies with its parent, and what is left over of a killed server."""

import ctypes
import signal
from collections.abc import Callable

import psutil

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process a signal when its parent dies; for use between fork and exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def find(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """List the live processes that match; those that vanish or are closed to us do not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and matches(process):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end(processes: list[psutil.Process], *, wait_s: float) -> None:
    """End processes: asked first, killed when they have not gone after wait_s."""
    for process in processes:
        _send(process, signal.SIGTERM)
    _gone, alive = psutil.wait_procs(processes, timeout=wait_s)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
