"""Curves and spectrograms in, SVG to put inside a page out. Raises MissingExtraError without matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jasper.errors import MissingExtraError
from jasper.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Sequence[Mapping[str, float]]

# All three are legible on a white and on a black page.
_BLUE, _ORANGE, _GREY = "#3f88d4", "#e07b2e", "#888888"
# Text is drawn in this colour, and the SVG then says `currentColor`: the page's, in light and in dark.
_TEXT_COLOUR = "#010203"


@dataclass(frozen=True, slots=True)
class Spectrogram:
    """Log-mel features (F, T) of one utterance, and the seconds from one frame to the next."""

    features: FloatArray
    hop: float  # s


def loss_figure(curves: Curves) -> str:
    """Draw training and development loss over the steps."""

    def draw(_: Figure, axes: Axes) -> None:
        _curve(axes, curves, "loss", "training", _BLUE)
        _curve(axes, curves, "dev_loss", "dev", _ORANGE, marker="o")
        _finish_curves(axes, "CTC loss")

    return _svg("loss", 5.2, 3.2, draw)


def rate_figure(curves: Curves) -> str:
    """Draw the development set's word and character error rates over the steps."""

    def draw(_: Figure, axes: Axes) -> None:
        _curve(axes, curves, "dev_wer", "dev WER", _BLUE, scale=100, marker="o")
        _curve(axes, curves, "dev_cer", "dev CER", _ORANGE, scale=100, marker="o")
        _finish_curves(axes, "error rate (%)")

    return _svg("rates", 5.2, 3.2, draw)


def runs_figure(runs: Mapping[str, Curves], key: str, label: str, scale: float = 1) -> str:
    """Draw one number of several runs over the steps, one line a run."""

    def draw(_: Figure, axes: Axes) -> None:
        for number, (name, curves) in enumerate(runs.items()):
            _curve(axes, curves, key, name, f"C{number % 10}", scale, marker="o")
        _finish_curves(axes, label)

    return _svg(f"runs-{key}", 5.2, 3.2, draw)


def surface_figure(wer: Sequence[Sequence[float]], alphas: Sequence[float], betas: Sequence[float]) -> str:
    """Draw WER over the weights of a language model: a row for each alpha, a column for each beta."""

    def draw(figure: Figure, axes: Axes) -> None:
        image = axes.imshow([[100 * rate for rate in row] for row in wer], origin="lower", cmap="viridis")
        axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
        axes.set_xlabel("beta")
        axes.set_ylabel("alpha")
        lowest = min(min(row) for row in wer)
        for row, rates in enumerate(wer):
            for column, rate in enumerate(rates):
                weight = "bold" if rate == lowest else "normal"
                size = 7 if len(betas) > 5 else 9
                axes.text(
                    column, row, f"{100 * rate:.1f}", ha="center", va="center", color="white",
                    fontweight=weight, fontsize=size, bbox={"facecolor": "#00000055", "lw": 0, "pad": 1},
                )  # fmt: skip
        figure.colorbar(image, ax=axes, label="WER (%)")

    return _svg("surface", 6.4, 5.2, draw)


def reliability_figure(bins: Sequence[tuple[float, float, int]], title: str) -> str:
    """Draw the share of right words over their mean confidence, of (confidence, share, number) each."""

    def draw(_: Figure, axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
        confidences, shares, counts = zip(*bins, strict=True) if bins else ((), (), ())
        axes.plot(confidences, shares, color=_BLUE)
        axes.scatter(confidences, shares, s=[10 + 200 * n / max(counts) for n in counts], color=_BLUE)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share of words that are right")
        axes.set_title(title)

    return _svg("reliability", 4.2, 4.0, draw)


def spectrogram_figure(spectrogram: Spectrogram) -> str:
    """Draw features over time; the picture itself is a PNG inside the SVG."""
    num_mels, num_frames = spectrogram.features.shape

    def draw(figure: Figure, axes: Axes) -> None:
        image = axes.imshow(
            spectrogram.features,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap="magma",
            extent=(0, num_frames * spectrogram.hop, 0, num_mels),
        )
        axes.set_xlabel("time (s)")
        axes.set_ylabel("mel band")
        bar = figure.colorbar(image, ax=axes, pad=0.015, label="log energy (normalised)")
        assert bar.solids is not None
        bar.solids.set_rasterized(True)

    return _svg("spectrogram", 10, 2.8, draw)


def _curve(
    axes: Axes, curves: Curves, key: str, label: str, colour: str, scale: float = 1, marker: str | None = None
) -> None:
    points = [(row["step"], row[key] * scale) for row in curves if key in row]
    if points:
        axes.plot(*zip(*points, strict=True), label=label, color=colour, marker=marker, markersize=3)


def _finish_curves(axes: Axes, label: str) -> None:
    axes.set_xlabel("training step")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False)


def _svg(name: str, width: float, height: float, draw: Callable[[Figure, Axes], None]) -> str:
    return svg(name, width, height, lambda figure: draw(figure, figure.add_subplot()))


def svg(name: str, width: float, height: float, paint: Callable[[Figure], None]) -> str:
    """Paint on a figure of so many inches; `name` keeps its identifiers apart from others' in a page."""
    text = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
    lines = ("axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name}
    settings |= dict.fromkeys(text, _TEXT_COLOUR) | dict.fromkeys(lines, _GREY)
    data = _painted(width, height, paint, settings, format="svg", transparent=True, metadata={"Date": None})
    found = data.decode()
    return found[found.index("<svg") :].replace(_TEXT_COLOUR, "currentColor")


def png(width: float, height: float, paint: Callable[[Figure], None]) -> bytes:
    """Paint on a white figure of so many inches, 110 dots each."""
    return _painted(width, height, paint, {}, format="png", dpi=110)


def _painted(
    width: float, height: float, paint: Callable[[Figure], None], settings: dict[Any, Any], **saved: Any
) -> bytes:
    """The figure is nobody else's: pyplot would keep it alive, and may ask for a display."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    buffer = io.BytesIO()
    with rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        figure.savefig(buffer, **saved)
    return buffer.getvalue()
