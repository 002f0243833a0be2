"""What was heard in a recording in, a picture of wave, log-mel, posteriors and words out: PNG or HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jasper.errors import ConfigError, require
from jasper.figures import png, svg
from jasper.report import render_page
from jasper.storage import new_file
from jasper.types import FloatArray, Transcript

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ROW_S = 10.0  # of a long recording, side by side
WIDTH, ROW_HEIGHT = 13.0, 6.0  # inches
MOST_LABELS = 40  # that the posteriors are drawn of
LIKELY = 0.05  # a label that is more likely than this somewhere is worth a row where there are too many
_WAVE, _WORD = "#3f88d4", "#e07b2e"  # legible on white and on black


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording, and all that was made of it."""

    wave: FloatArray  # (N,)
    sample_rate: int  # Hz
    log_mel: NDArray[np.float64]  # (F, T), not normalised
    hop: float  # s, from one frame to the next
    posteriors: tuple[tuple[float, FloatArray], ...]  # beginning (s) and log_probs (T', V) of what has sound
    step: float  # s, of a log-prob
    labels: tuple[str, ...]  # of the V, blank included
    transcript: Transcript


def write_picture(path: Path, heard: Heard) -> None:
    """Write a picture of a recording, in rows of 10 s, to a file that ends in .png or .html.

    Raises ConfigError for another ending and where nothing can be written, MissingExtraError without
    matplotlib or, for a page, jinja2.
    """
    check_picture(path)
    rows = _rows(heard)
    if path.suffix == ".png":
        data = png(WIDTH, ROW_HEIGHT * len(rows), lambda figure: _draw_rows(figure, rows))
    else:
        figures = [
            svg(f"row-{number}", WIDTH, ROW_HEIGHT, lambda figure, row=row: _draw_rows(figure, [row]))  # type: ignore[misc]
            for number, row in enumerate(rows)
        ]
        title = Path(heard.transcript.path or "standard input").name
        values = {"title": title, "figures": figures, "transcript": heard.transcript}
        data = render_page("transcript.html", **values).encode(errors="backslashreplace")
    try:
        with new_file(path) as file:
            file.write(data)
    except OSError as error:
        raise ConfigError(f"--plot {path}: cannot be written: {error.strerror}") from None


def check_picture(path: Path) -> None:
    """Raise ConfigError unless a file ends as a picture does, MissingExtraError unless one can be drawn."""
    if path.suffix not in (".png", ".html"):
        raise ConfigError(f"--plot {path}: a picture ends in .png or .html")
    require("matplotlib", "report")
    if path.suffix == ".html":
        require("jinja2", "report")


Row = Callable[["Figure | SubFigure"], None]


def _rows(heard: Heard) -> list[Row]:
    duration = heard.wave.size / heard.sample_rate
    starts = np.arange(0, max(duration, 0.01), ROW_S) if duration > 1.2 * ROW_S else np.zeros(1)
    length = ROW_S if len(starts) > 1 else max(duration, 0.01)
    shown = _shown_labels(heard)
    return [
        lambda figure, start=start: _draw_row(figure, heard, shown, float(start), float(start + length))  # type: ignore[misc]
        for start in starts
    ]


def _draw_rows(figure: Figure, rows: list[Row]) -> None:
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        row(part)


def _draw_row(
    figure: Figure | SubFigure, heard: Heard, shown: NDArray[np.int64], start: float, end: float
) -> None:
    sound, mel, labels = figure.subplots(3, 1, sharex=True, height_ratios=(1.1, 1.2, 3.0))
    sound.set_xlim(start, end)
    _draw_wave(sound, heard, start, end)
    first, last = round(start / heard.hop), round(end / heard.hop)
    part = heard.log_mel[:, first:last]
    if part.size:
        _image(mel, part, start, start + part.shape[1] * heard.hop)
    mel.set_ylabel("mel band")
    for begin, log_probs in heard.posteriors:
        if begin < end and begin + len(log_probs) * heard.step > start:
            _image(labels, np.exp(log_probs.T[shown]), begin, begin + len(log_probs) * heard.step, (0.0, 1.0))
    labels.set_ylim(0, len(shown))
    names = [_visible(heard.labels[index]) for index in shown]
    labels.set_yticks(np.arange(len(shown)) + 0.5, names, fontsize=6)
    labels.set_ylabel("posterior")
    labels.set_xlabel("time (s)")


def _draw_wave(axes: Axes, heard: Heard, start: float, end: float) -> None:
    """The wave's outline, and above it the words, each over the time in which it was said."""
    first, last = round(start * heard.sample_rate), round(end * heard.sample_rate)
    part = heard.wave[first:last]
    bucket = max(1, part.size // 3000)
    outline = part[: part.size // bucket * bucket].reshape(-1, bucket)
    times = start + np.arange(len(outline)) * bucket / heard.sample_rate
    axes.fill_between(times, outline.min(axis=1), outline.max(axis=1), color=_WAVE, linewidth=0.6)
    top = max(float(np.abs(heard.wave).max(initial=0.0)), 1e-4)
    axes.set_ylim(-top, 2.6 * top)
    axes.set_yticks([-top, 0, top], [f"{-top:.2g}", "0", f"{top:.2g}"], fontsize=6)
    axes.set_ylabel("wave")
    for number, word in enumerate(heard.transcript.words):
        middle = (word.start + word.end) / 2
        if not start <= middle < end:
            continue
        height = (1.35, 1.95)[number % 2] * top  # in turn, or long words would cover each other
        axes.hlines(1.15 * top, word.start, word.end, color=_WORD, linewidth=3)
        axes.text(middle, height, word.text, ha="center", va="bottom", fontsize=7.5, clip_on=True)


def _image(
    axes: Axes, values: NDArray[Any], start: float, end: float, limits: tuple[float, float] | None = None
) -> None:
    low, high = limits or (None, None)
    axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        extent=(start, end, 0, len(values)),
        vmin=low,
        vmax=high,
    )


def _shown_labels(heard: Heard) -> NDArray[np.int64]:
    """All labels, or where they are too many those that were likely somewhere; the blank on top."""
    count = len(heard.labels)
    if count <= MOST_LABELS:
        return np.arange(count)
    peaks = np.full(count, -np.inf)
    for _, log_probs in heard.posteriors:
        peaks = np.maximum(peaks, log_probs.max(axis=0, initial=-np.inf))
    likely = [index for index in np.argsort(-peaks)[:MOST_LABELS] if peaks[index] > np.log(LIKELY)]
    return np.array(sorted({*(int(index) for index in likely), count - 1}), dtype=np.int64)


def _visible(label: str) -> str:
    return label.replace(" ", "␣") or "∅"
