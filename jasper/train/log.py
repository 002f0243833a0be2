"""Numbers in; a JSON-lines log, TensorBoard events and lines on the terminal out."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jasper.errors import CheckpointError
from jasper.storage import atomic_file

_DEV_KEYS = {"dev_wer", "hypothesis"}  # one of them is in every row that a score on dev writes
_NEVER_S = 30 * 24 * 3600

Listener = Callable[[Mapping[str, Any]], None]


class RunLog:
    """`log.jsonl`, TensorBoard events and `refused.jsonl` of a run directory."""

    def __init__(
        self, directory: Path, step: int, dev_due: bool = False, listener: Listener | None = None
    ) -> None:
        """Open the log to go on after `step`; what an interrupted run wrote past it is dropped.

        `dev_due`: the score on dev after `step` is still to come, so one that is there is dropped too.
        `listener` is given every row of the log, those that were there first.
        Raises CheckpointError, here and in `row`, when it cannot be written.
        """
        self.path = directory / "log.jsonl"
        self._listener = listener
        try:
            if self.path.exists():
                rows = [row for row in read_log(self.path) if row["step"] <= step]
                if dev_due:
                    rows = [row for row in rows if row["step"] < step or not _DEV_KEYS & row.keys()]
                with atomic_file(self.path) as path:
                    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
                if listener is not None:
                    for row in rows:
                        listener(row)
            self._file = self.path.open("a", encoding="utf-8")
            self._writer = _tensorboard(directory / "tensorboard", step)
        except OSError as error:
            raise self._failure(error) from None

    def row(self, step: int, **values: Any) -> None:
        """Write one row; numbers go to TensorBoard too. Not-finite numbers are written as text."""
        safe = {k: repr(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        row = {"step": step, "time": round(time.time(), 3), **safe}
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._show(step, values)
        except OSError as error:
            raise self._failure(error) from None
        if self._listener is not None:
            self._listener(row)

    def _show(self, step: int, values: dict[str, Any]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, step)
            elif isinstance(value, str):
                self._writer.add_text(name, value, step)
        self._writer.flush()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        # Every row was flushed; what cannot be written now has been reported already.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            if self._writer is not None:
                self._writer.close()

    def _failure(self, error: OSError) -> CheckpointError:
        return CheckpointError(f"{self.path}: the log could not be written: {error.strerror or error}")


class SilentLog:
    """The log of a rank that writes none."""

    def row(self, step: int, **values: Any) -> None:
        """Write nothing."""

    def __enter__(self) -> SilentLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def say(message: str) -> None:
    """Print a line to standard error, where the progress bar is."""
    print(message, file=sys.stderr, flush=True)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a log; a last line that was cut off by a crash is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _tensorboard(directory: Path, step: int) -> Any:
    if "torch" not in sys.modules:  # a training in MindSpore loads no PyTorch for its writer
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # `row` flushes: the writer's own thread could report a full disk only by a traceback.
    return SummaryWriter(str(directory), purge_step=step + 1, flush_secs=_NEVER_S)
