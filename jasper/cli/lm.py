"""`jasper lm`: language models from text, and how well they predict text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from jasper.cli.decoding import EngineOptions, SearchOptions
from jasper.cli.options import with_options
from jasper.cli.output import AsJson, long_work, print_json
from jasper.cli.recognition import ModelPath
from jasper.errors import ConfigError, LanguageModelError

if TYPE_CHECKING:
    from jasper.tune import Weights

MOST_VALUES = 50  # of a range

app = typer.Typer(no_args_is_help=True, help="Build n-gram language models and measure them.")

Texts = Annotated[list[Path], typer.Argument(help="A sentence a line; .gz and .xz are unpacked.")]
Normalizer = Annotated[str, typer.Option(help="english, basic, figures, lower or none.")]


@app.command()
def build(
    text: Texts,
    out: Annotated[Path, typer.Option(help="x.arpa, x.arpa.gz, or x.bin, which opens at once.")],
    order: Annotated[int, typer.Option(min=1, help="Words in the longest n-gram.")] = 3,
    prune: Annotated[
        str, typer.Option(help="COUNT[,COUNT...] of each order: n-grams that come no oftener are left out.")
    ] = "0",
    normalizer: Normalizer = "lower",
    as_json: AsJson = False,
) -> None:
    """Estimate an n-gram model (interpolated modified Kneser-Ney)."""
    from jasper.lm import write_arpa, write_binary
    from jasper.lm.build import build as build_model

    thresholds = prune.split(",")
    if not all(threshold.strip().isdigit() for threshold in thresholds):
        raise ConfigError(f"--prune {prune}: give a count for each order, 0,0,1 say")
    with long_work("run the command again"):
        model = build_model(_sentences(text, normalizer), order, [int(number) for number in thresholds])
        (write_binary if out.suffix == ".bin" else write_arpa)(out, model)
    if as_json:
        print_json({"model": str(out), "num_ngrams": model.num_ngrams})
    else:
        counts = ", ".join(f"{count:,} {n}-grams" for n, count in enumerate(model.num_ngrams, start=1))
        typer.echo(f"{out}: {counts}")


@app.command()
def perplexity(
    model: Annotated[Path, typer.Argument(help="A model: ARPA or binary.")],
    text: Texts,
    normalizer: Normalizer = "lower",
    as_json: AsJson = False,
) -> None:
    """Perplexity of a model on text, sentence ends counted, with and without words that it lacks."""
    import math

    from jasper.lm import load
    from jasper.lm.ngram import UNKNOWN

    loaded = load(model)
    with long_work("run the command again"):
        words = unknown = 0
        total = known = 0.0
        for sentence in _sentences(text, normalizer):
            scores = loaded.score_words(sentence)
            strange = [loaded.ids.get(word, UNKNOWN) == UNKNOWN for word in sentence.split()]
            words += len(scores)
            unknown += sum(strange)
            total += sum(scores)
            known += sum(score for score, lacks in zip(scores, [*strange, False], strict=True) if not lacks)
    if not words:
        raise LanguageModelError("the text has no words")
    result = {
        "perplexity": math.exp(-total / words),
        "perplexity_of_known": math.exp(-known / (words - unknown)),
        "num_words": words,
        "num_unknown": unknown,
    }
    if as_json:
        print_json(result)
    else:
        typer.echo(
            f"perplexity {result['perplexity']:.2f}, {result['perplexity_of_known']:.2f} of known words; "
            f"{words} words and sentence ends, {unknown} unknown"
        )


@dataclass(frozen=True, slots=True)
class WeightOptions:
    """Weights that `tune` tries."""

    alphas: Annotated[str, typer.Option(help="FIRST:LAST:STEP, weights to try.")] = "0.25:1.5:0.25"
    betas: Annotated[str, typer.Option(help="The same, of what each word adds.")] = "-1:2:0.5"
    unknowns: Annotated[
        str, typer.Option(help="The same, of what each unknown word adds; tried with the best of the others.")
    ] = "-20:-4:4"
    rescore_weights: Annotated[
        str, typer.Option(help="The same, of the model of --rescore; tried with the best of the others.")
    ] = "0:1:0.1"

    def weights(self) -> Weights:
        """The values. Raises ConfigError for what is no range, and for weights below 0."""
        from jasper.tune import Weights

        values = {field.name: _range(getattr(self, field.name), field.name) for field in fields(self)}
        if min(*values["alphas"], *values["rescore_weights"]) < 0:
            raise ConfigError(
                f"--alphas {self.alphas}, --rescore-weights {self.rescore_weights}: a weight below 0"
            )
        return Weights(**values)


@app.command()
@with_options
def tune(
    model: ModelPath,
    manifest: Annotated[str, typer.Argument(help="Utterances of a development set.")],
    search: SearchOptions,
    engine: EngineOptions,
    tried: WeightOptions,
    out: Annotated[Path | None, typer.Option(help="Page with a picture of the WER over the weights.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the weights of a language model (--lm) that give the lowest WER; the network runs once."""
    from dataclasses import asdict

    from jasper import figures, report
    from jasper.data.manifest import read_manifest
    from jasper.lm import load
    from jasper.tune import tune as run_tuning

    config = search.config()
    if config.lm is None:
        raise ConfigError("--lm: say which language model to tune")
    weights = tried.weights()
    with long_work("run the command again"):
        found = run_tuning(engine.load(model), read_manifest(manifest), load(config.lm), config, weights)
    best = found.best
    options = (
        f"--lm {config.lm} --alpha {best.alpha:g} --beta {best.beta:g} --decode unknown={best.unknown:g}"
    )
    if best.rescore is not None:
        options += f" --rescore {best.rescore} --rescore-weight {best.rescore_weight:g}"
    line = f"WER {found.best_wer:.2%}, greedy {found.greedy_wer:.2%}; options: {options}"
    if config.rescore is not None and best.rescore is None:
        line += f"\n--rescore {config.rescore}: leave it out, no weight of it lowers WER"
    if out is not None:
        picture = figures.surface_figure(found.wer, found.alphas, found.betas)
        report.write_figures(out, f"{model} on {manifest}", [picture], line.splitlines())
    if as_json:
        chosen = {key: getattr(best, key) for key in ("alpha", "beta", "unknown", "rescore_weight")}
        print_json({**asdict(found), "best": chosen, "options": options})
    else:
        typer.echo(line)


def _range(text: str, name: str) -> list[float]:
    """FIRST:LAST:STEP of the option `name` as numbers, both ends among them."""
    try:
        first, last, step = map(float, text.split(":"))
        count = round((last - first) / step) + 1
    except (ValueError, ZeroDivisionError, OverflowError):
        count = 0
    if not 1 <= count <= MOST_VALUES:
        option = name.replace("_", "-")
        raise ConfigError(
            f"--{option} {text}: give FIRST:LAST:STEP of at most {MOST_VALUES} values, 0:1:0.25 say"
        )
    return [round(first + step * index, 10) for index in range(count)]


def _sentences(paths: Iterable[Path], normalizer: str) -> Iterator[str]:
    import gzip
    import lzma

    from jasper.text import get_normalizer

    openers: dict[str, Callable[..., TextIO]] = {".gz": gzip.open, ".xz": lzma.open}
    normalize = get_normalizer(normalizer)
    for path in paths:
        try:
            with openers.get(path.suffix, open)(path, mode="rt", encoding="utf-8") as file:
                yield from filter(None, map(normalize, file))
        except (OSError, UnicodeDecodeError, EOFError, lzma.LZMAError) as error:
            raise LanguageModelError(f"{path}: cannot be read as text: {error}") from None
