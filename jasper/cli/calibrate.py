"""`jasper calibrate`: how far the confidence of words can be believed, and the settings that repair it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jasper.cli.decoding import EngineOptions, SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import AsJson, long_work, print_json
from jasper.cli.recognition import Channel, ModelPath
from jasper.errors import ConfigError


@with_options
def calibrate(
    model: ModelPath,
    manifest: Annotated[str, typer.Argument(help="Utterances with their texts.")],
    search: SearchOptions,
    engine: EngineOptions,
    out: Annotated[Path | None, typer.Option(help="Page with the reliability diagram.")] = None,
    channel: Channel = None,
    as_json: AsJson = False,
) -> None:
    """Compare the confidence of words with how many are right, and fit the setting that makes them agree.

    Fit on a development set; measure by running it on another with the setting.
    """
    from jasper import figures, report
    from jasper.calibration import all_calibrated, expected_error, fit, reliability
    from jasper.data.manifest import read_manifest
    from jasper.evaluate import judge_words

    config = search.config()
    with long_work("run the command again"):
        plain = engine.load(model, config.model_copy(update={"calibration": (1.0, 0.0)}))
        confidences, right, evidence = judge_words(plain, read_manifest(manifest), channel=channel)
    if not len(right):
        raise ConfigError(f"{manifest}: no word was found in it")
    measured = all_calibrated(confidences, *config.calibration)
    fitted = fit(confidences, right)
    repaired = all_calibrated(confidences, *fitted)
    error, fitted_error = expected_error(measured, right), expected_error(repaired, right)
    option = f"--decode search={config.search} --decode calibration=[{fitted[0]:.3f},{fitted[1]:.3f}]"
    line = (
        f"{len(right)} words, {right.mean():.1%} right, mean confidence {measured.mean():.1%}, expected "
        f"calibration error {error:.2%}; fitted to these words {fitted_error:.2%}: {option}\n"
        f"every text has labels {evidence:.2f} nats likelier than blanks; to drop noise, half of that is a "
        f"careful --evidence {evidence / 2:.2f}"
    )
    if out is not None:
        pictures = [
            figures.reliability_figure(reliability(values, right), title)
            for values, title in ((measured, "as it is"), (repaired, "fitted"))
        ]
        report.write_figures(out, f"Confidence of {model} on {manifest}", pictures, [line])
    if as_json:
        print_json(
            {
                "num_words": len(right),
                "right": float(right.mean()),
                "confidence": float(measured.mean()),
                "ece": error,
                "fitted_ece": fitted_error,
                "fitted": fitted,
                "evidence": evidence,
                "options": option,
                "bins": [one._asdict() for one in reliability(measured, right)],
            }
        )
    else:
        typer.echo(line)
