"""Processes that train together over Gloo, as torchrun would start them, but sooner."""

import os
import socket
import time

from tones import PROCESSES

from jasper.errors import JasperError
from jasper.train import train


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _as_rank(rank, size, port, work, arguments, errors):
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    try:
        work(*arguments)
    except (JasperError, KeyboardInterrupt) as error:
        errors.put((rank, type(error), str(error)))
        raise SystemExit(2) from None


def start(size, work, *arguments):
    """Run `work(*arguments)` on `size` ranks; returns them and the queue of (rank, error, message)."""
    port, errors = free_port(), PROCESSES.Queue()
    processes = [
        PROCESSES.Process(target=_as_rank, args=(rank, size, port, work, arguments, errors))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes, errors


def finish(processes, errors, seconds=100):
    """Wait for every rank; returns their exit codes and what they raised, by rank."""
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, until - time.monotonic()))
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    raised = {}
    while any(codes) and not (time.sleep(0.1) or errors.empty()):
        rank, kind, message = errors.get()
        raised[rank] = kind, message
    return codes, raised


def train_on(size, config):
    codes, raised = finish(*start(size, train, config))
    assert codes == [0] * size, raised
