"""`jasper calibrate`: how far words can be believed, and what repairs that, kept beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jasper.cli.decoding import EngineOptions, SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import AsJson, check_place, long_work, print_json, writing
from jasper.cli.recognition import Channel, ModelPath
from jasper.errors import ConfigError, require


@with_options
def calibrate(
    model: ModelPath,
    manifest: Annotated[str, typer.Argument(help="Utterances with their texts.")],
    search: SearchOptions,
    engine: EngineOptions,
    out: Annotated[Path | None, typer.Option(help="Page with the reliability diagram.")] = None,
    save: Annotated[
        bool,
        typer.Option("--save", help="Keep what was fitted in the model directory: from then on it holds."),
    ] = False,
    channel: Channel = None,
    as_json: AsJson = False,
) -> None:
    """Compare the confidence of words with how many are right, and fit what makes them agree.

    A training does so on its dev set when it ends. Fit on a development set, with the search that will be
    used; measure by running it on another. With --save the model's confidences are repaired, and it gives no
    text where it is nowhere as sure that anything is said as it is of nearly all words that it hears rightly.
    """
    from jasper import figures, report
    from jasper.bundle import read_calibration, write_calibration
    from jasper.calibration import all_calibrated, expected_error, reliability
    from jasper.data.manifest import read_manifest
    from jasper.directory import find_bundle
    from jasper.evaluate import judge_words

    config = search.config()
    if out is not None:
        require("matplotlib", "report")
        require("jinja2", "report")
        check_place("--out", out)
    directory = find_bundle(model)
    plain = {"calibration": (1.0, 0.0), "evidence": 0.0}
    with long_work("run the command again"):
        uncalibrated = engine.load(directory, config.model_copy(update=plain))
        words = judge_words(uncalibrated, read_manifest(manifest), channel=channel)
    confidences, right = words.confidences, words.right
    if not len(right):
        raise ConfigError(f"{manifest}: no word was found in it")
    fitted = words.fit()
    measured = all_calibrated(confidences, *config.calibrated(read_calibration(directory)).confidence)
    repaired = all_calibrated(confidences, *fitted.confidence)
    error, fitted_error = expected_error(measured, right), expected_error(repaired, right)
    scale, shift = fitted.confidence
    option = f"--decode search={config.search} --decode calibration=[{scale:.3f},{shift:.3f}]"
    line = (
        f"{len(right)} words, {right.mean():.1%} right, mean confidence {measured.mean():.1%}, expected "
        f"calibration error {error:.2%}; fitted to these words {fitted_error:.2%}: {option}\n"
        f"{_evidence_line(fitted.evidence)}"
    )
    if save:
        line += f"\nkept in {write_calibration(directory, fitted)}"
    if out is not None:
        pictures = [
            figures.reliability_figure(reliability(values, right), title)
            for values, title in ((measured, "as it is"), (repaired, "fitted"))
        ]
        with writing("--out", out):
            report.write_figures(out, f"Confidence of {model} on {manifest}", pictures, [line])
    if as_json:
        print_json(
            {
                "num_words": len(right),
                "right": float(right.mean()),
                "confidence": float(measured.mean()),
                "ece": error,
                "fitted_ece": fitted_error,
                "fitted": fitted.confidence,
                "evidence": fitted.evidence,
                "options": option,
                "bins": [one._asdict() for one in reliability(measured, right)],
            }
        )
    else:
        typer.echo(line)


def _evidence_line(evidence: float) -> str:
    from jasper.nonspeech import FEWEST_WORDS, LOST, LOST_UTTERANCES

    if not evidence:
        return f"--evidence 0: fewer than {FEWEST_WORDS} words are right, or the model is sure of none"
    share = f"{1 - LOST:.0%} of right words, and {1 - LOST_UTTERANCES:.1%} of utterances with one,"
    return f"{share} have labels {evidence:.2f} nats likelier than blanks: --evidence {evidence:.2f}"
