"""Start every simulated peer: `python -m tests.sandbox [--json]`; Ctrl-C or SIGTERM ends it.

Peers are found by looking: a folder here with `peer.py` that has `make_peer(options)`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.sandbox.frame import Options, Peer

PARENT_LOOK_S = 0.5


def peer_names() -> list[str]:
    """List the folders that hold a peer."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/peer.py"))


def make_peers(options: Options, only: Sequence[str] = ()) -> dict[str, Peer]:
    """Build the peers (not started), each knowing the others."""
    peers: dict[str, Peer] = {}
    for name in only or peer_names():
        peers[name] = importlib.import_module(f"tests.sandbox.{name}.peer").make_peer(options)
    for peer in peers.values():
        peer.others = peers
    return peers


async def start_peers(peers: dict[str, Peer]) -> dict[str, dict[str, object]]:
    """Start all and return the credentials by name."""
    for peer in peers.values():
        await peer.start()
    return {name: peer.credentials() for name, peer in peers.items()}


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; there is one --port-<peer> for each peer found."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON line with all addresses when all answer")
    parser.add_argument(
        "--hook-base", default="", help="send every hook to this scheme and host, whatever was registered"
    )
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process is gone")
    parser.add_argument("--only", action="append", default=[], choices=peer_names(), help="start only this peer")
    for name in peer_names():
        parser.add_argument(f"--port-{name.replace('_', '-')}", dest=f"port_{name}", type=int, default=0)
    return parser.parse_args(arguments)


async def watch_parent(parent: int, ended: asyncio.Event) -> None:
    """Set `ended` as soon as we are the child of somebody else."""
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_LOOK_S)
    ended.set()


async def serve(arguments: argparse.Namespace) -> None:
    """Run until told to end."""
    parent = os.getppid()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, ended.set)
    ports = {name: getattr(arguments, f"port_{name}") for name in peer_names()}
    peers = make_peers(Options(ports, arguments.hook_base), arguments.only)
    watcher = asyncio.create_task(watch_parent(parent, ended)) if arguments.with_parent else None
    try:
        addresses = await start_peers(peers)
        show(addresses, as_json=arguments.json)
        await ended.wait()
    finally:
        if watcher:
            watcher.cancel()
        for peer in peers.values():
            await peer.stop()


def show(addresses: dict[str, dict[str, object]], *, as_json: bool) -> None:
    """Print the addresses."""
    if as_json:
        print(json.dumps({**addresses, "pid": os.getpid()}), flush=True)
        return
    for name, values in addresses.items():
        print(name)
        for key, value in values.items():
            print(f"  {key}: {value}")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(read_arguments()))
