"""A score in, something to read out: a page of HTML, text for a terminal, JSON for a program."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from jasper.errors import MissingExtraError
from jasper.figures import (
    Curves,
    Spectrogram,
    loss_figure,
    rate_figure,
    runs_figure,
    spectrogram_figure,
)
from jasper.metrics import Edit, align
from jasper.storage import new_file
from jasper.types import ErrorCounts, Score, ScoredUtterance

Confusion = tuple[str, str, int]

_EVAL_MARKS = {"equal": "", "substitute": "S", "delete": "D", "insert": "I"}  # as sclite prints them
_LINE_WIDTH = 100  # columns of an alignment in text


@dataclass(frozen=True, slots=True)
class _Speaker:
    name: str
    words: ErrorCounts
    characters: ErrorCounts
    num_utterances: int
    duration: float  # s


def confusions(score: Score, most: int = 20) -> list[Confusion]:
    """The commonest (reference word, hypothesis word, count).

    A deletion has the empty string as hypothesis, an insertion as reference.
    """
    return _commonest(_count_edits(score), most)


def score_dict(score: Score) -> dict[str, Any]:
    """The numbers of a set, for JSON: rates in 0..1, `duration` in seconds."""
    return {
        **_counts_dict(score.words, score.characters),
        "wer_interval": list(score.wer_interval),
        "utterances": len(score.utterances),
        "duration": _total_duration(score.utterances),
    }


def write_score_lines(path: str | Path, score: Score) -> None:
    """Write JSON lines, one utterance a line, in manifest order."""
    rows = (
        {
            "id": utterance.id,
            "reference": utterance.reference,
            "hypothesis": utterance.hypothesis,
            "speaker": utterance.speaker,
            "duration": utterance.duration,
            **_counts_dict(utterance.words, utterance.characters),
        }
        for utterance in score.utterances
    )
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_score_text(path: str | Path, score: Score) -> None:
    """Write what `score_text` tells."""
    _write(path, score_text(score))


def score_text(score: Score, most: int = 10) -> str:
    """Tell a score on a terminal: rates, the `most` common confusions, the `most` worst utterances."""
    words = score.words
    low, high = map(_percent, score.wer_interval)
    rates = f"WER {_percent(score.wer)} (95 %: {low} to {high}), CER {_percent(score.cer)}"
    kinds = {
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
    }
    errors = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    size = (
        f"{words.reference_length:,} words of {len(score.utterances):,} utterances, "
        f"{_duration(_total_duration(score.utterances))}"
    )
    parts = [f"{rates}\n{errors}\n{size}"]
    common = confusions(score, most)
    if common:
        rows = (f"{count:7,}  {spoken or '***'} → {heard or '***'}" for spoken, heard, count in common)
        parts.append("\n".join(["commonest errors (reference → hypothesis)", *rows]))
    worst = [utterance for utterance in _worst_first(score) if utterance.words.errors][:most]
    parts += [_utterance_text(utterance) for utterance in worst]
    return "\n\n".join(parts) + "\n"


def write_score_report(path: str | Path, score: Score, title: str) -> None:
    """Write a page of HTML that needs no other file: summary, confusions, speakers, aligned utterances.

    Raises MissingExtraError without jinja2.
    """
    _write(path, render_page("score_report.html", title=title, **_score_values(score)))


def write_training_report(
    path: str | Path,
    title: str,
    curves: Sequence[Mapping[str, float]],
    score: Score,
    spectrogram: Spectrogram,
    transcript: ScoredUtterance,
    details: Mapping[str, str],
) -> None:
    """Write a page of HTML that needs no other file, about a training and the model that it made.

    curves: rows of the training log, with `step` and `loss`, or with `step`, `dev_loss`, `dev_wer`, `dev_cer`
    (rates in 0..1). transcript: the utterance that `spectrogram` shows.
    Raises MissingExtraError without jinja2 or matplotlib.
    """
    page = render_page(
        "training_report.html",
        title=title,
        figures=(loss_figure(curves), rate_figure(curves)),
        picture=spectrogram_figure(spectrogram),
        transcript=transcript,
        transcript_edits=_align_words(transcript),
        details=details,
        **_score_values(score),
    )
    _write(path, page)


def seeds_table(
    rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Mapping[str, float]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of columns and the cells of runs that differ by their seed, the last row being what they share.

    rows: `seed`, `step`, `directory` and, as in `summary` (`mean`, `deviation`), dev_wer, dev_cer, dev_loss.
    """
    names = {"dev_wer": "dev WER", "dev_cer": "dev CER", "dev_loss": "dev loss"}
    measures = [measure for measure in names if measure in summary]
    cells = [
        (
            str(row["seed"]),
            *(_measure(m, row[m]) for m in measures),
            f"{row['step']:,}",
            Path(row["directory"]).name,
        )
        for row in rows
    ]
    shared = (f"{_measure(m, summary[m]['mean'])} ± {_measure(m, summary[m]['deviation'])}" for m in measures)
    columns = ("seed", *(names[measure] for measure in measures), "steps", "run")
    return columns, [*cells, ("mean ± SD", *shared, "", "")]


def write_seeds_report(
    path: str | Path,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Mapping[str, float]],
    curves: Mapping[str, Curves],
) -> None:
    """Write a page of HTML that needs no other file: `seeds_table` and the dev curves, by name of the run.

    Raises MissingExtraError without jinja2 or matplotlib.
    """
    columns, cells = seeds_table(rows, summary)
    figures = (
        runs_figure(curves, "dev_wer", "dev WER (%)", 100),
        runs_figure(curves, "dev_loss", "dev loss"),
    )
    _write(path, render_page("seeds_report.html", title=title, columns=columns, rows=cells, figures=figures))


def render_page(template: str, **values: Any) -> str:
    """Fill in one of `jasper/templates`. Raises MissingExtraError without jinja2."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise MissingExtraError("jinja2", "report") from None
    environment = Environment(
        loader=PackageLoader("jasper"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["duration"] = _duration
    environment.filters["thousands"] = "{:,}".format
    return environment.get_template(template).render(values)


def _measure(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if name == "dev_loss" else _percent(value)


def _counts_dict(words: ErrorCounts, characters: ErrorCounts) -> dict[str, Any]:
    return {
        "wer": words.rate,
        "cer": characters.rate,
        "substitutions": words.substitutions,
        "deletions": words.deletions,
        "insertions": words.insertions,
        "words": words.reference_length,
        "character_substitutions": characters.substitutions,
        "character_deletions": characters.deletions,
        "character_insertions": characters.insertions,
        "characters": characters.reference_length,
    }


def write_figures(path: str | Path, title: str, figures: Sequence[str], lines: Sequence[str] = ()) -> None:
    """Write a page of figures (SVG) under lines of text. Raises MissingExtraError without jinja2."""
    _write(path, render_page("figures.html", title=title, figures=figures, lines=lines))


def _align_words(utterance: ScoredUtterance) -> list[Edit]:
    return align(utterance.reference.split(), utterance.hypothesis.split())


def _count_edits(score: Score) -> Counter[tuple[str, str]]:
    return Counter(
        (edit.reference or "", edit.hypothesis or "")
        for utterance in score.utterances
        for edit in _align_words(utterance)
        if edit.kind != "equal"
    )


def _commonest(counts: Mapping[tuple[str, str], int], most: int) -> list[Confusion]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(spoken, heard, count) for (spoken, heard), count in ordered[:most]]


def _worst_first(score: Score) -> list[ScoredUtterance]:
    return sorted(score.utterances, key=lambda utterance: (-utterance.words.rate, -utterance.words.errors))


def _total_duration(utterances: Sequence[ScoredUtterance]) -> float:
    return sum(utterance.duration for utterance in utterances)


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def _utterance_text(utterance: ScoredUtterance) -> str:
    """Head line, then REF, HYP and Eval as sclite prints them: errors in capitals, *** for a missing word."""
    lines = [f"{utterance.id}  WER {_percent(utterance.words.rate)}"]
    for columns in _fold(_align_words(utterance)):
        for name, row in zip(("REF: ", "HYP: ", "Eval:"), zip(*columns, strict=True), strict=True):
            lines.append(f"  {name} {' '.join(row)}".rstrip())
    return "\n".join(lines)


def _fold(edits: Sequence[Edit]) -> Iterator[list[tuple[str, str, str]]]:
    """Padded (reference, hypothesis, mark) columns, as many at a time as fit on a line."""
    columns: list[tuple[str, str, str]] = []
    used = 0
    for edit in edits:
        spoken, heard = edit.reference or "***", edit.hypothesis or "***"
        if edit.kind != "equal":
            spoken, heard = spoken.upper(), heard.upper()
        width = max(cell_len(spoken), cell_len(heard))
        if columns and used + width > _LINE_WIDTH:
            yield columns
            columns, used = [], 0
        mark = _EVAL_MARKS[edit.kind]
        columns.append((set_cell_size(spoken, width), set_cell_size(heard, width), mark.ljust(width)))
        used += width + 1
    if columns:
        yield columns


def _score_values(score: Score) -> dict[str, Any]:
    """What the score section of a page shows."""
    counts = _count_edits(score)
    kinds = {
        "Substitutions": {pair: count for pair, count in counts.items() if pair[0] and pair[1]},
        "Deletions": {pair: count for pair, count in counts.items() if not pair[1]},
        "Insertions": {pair: count for pair, count in counts.items() if not pair[0]},
    }
    worst = [(utterance, _align_words(utterance)) for utterance in _worst_first(score)]
    return {
        "score": score,
        "total_duration": _total_duration(score.utterances),
        "confusions": {kind: _commonest(pairs, 20) for kind, pairs in kinds.items()},
        "speakers": _by_speaker(score.utterances),
        "wrong": [pair for pair in worst if pair[0].words.errors],
        "right": [pair for pair in worst if not pair[0].words.errors],
    }


def _by_speaker(utterances: Sequence[ScoredUtterance]) -> list[_Speaker]:
    """The known speakers, the worst first."""
    groups: dict[str, list[ScoredUtterance]] = defaultdict(list)
    for utterance in utterances:
        if utterance.speaker is not None:
            groups[utterance.speaker].append(utterance)
    speakers = [
        _Speaker(
            name=name,
            words=sum((utterance.words for utterance in group), ErrorCounts()),
            characters=sum((utterance.characters for utterance in group), ErrorCounts()),
            num_utterances=len(group),
            duration=_total_duration(group),
        )
        for name, group in groups.items()
    ]
    return sorted(speakers, key=lambda speaker: -speaker.words.rate)


def _write(path: str | Path, text: str) -> None:
    with new_file(Path(path)) as file:
        file.write(text.encode())
