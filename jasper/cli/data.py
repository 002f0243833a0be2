"""`jasper data`: corpora into manifests, and manifests checked and counted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jasper.cli.output import AsJson, long_work, print_json, print_table

if TYPE_CHECKING:
    from jasper.data.stats import ManifestStats
    from jasper.data.validate import ValidationReport

app = typer.Typer(no_args_is_help=True, help="Prepare, check and count speech data.")

Manifest = Annotated[str, typer.Argument(help="Path or URL of JSON lines (NeMo's keys) or NVIDIA's list.")]

MAX_EXAMPLES = 20  # faults in a table; --json has all


@app.command()
def librispeech(
    root: Annotated[Path, typer.Option(help="Folder of the corpus; archives and manifests go there.")],
    subset: Annotated[list[str], typer.Option(help="dev-clean, train-clean-100, …; may be repeated.")],
    url: Annotated[str | None, typer.Option(help="Folder of a mirror that has <subset>.tar.gz.")] = None,
    download: Annotated[bool, typer.Option(help="Whether what is missing may be downloaded.")] = True,
    as_json: AsJson = False,
) -> None:
    """Download LibriSpeech where it is missing and write a manifest for each subset.

    What is there already is used: ROOT/LibriSpeech/SUBSET, ROOT/SUBSET, or ROOT/SUBSET.tar.gz. Downloads are
    verified and taken up again where they broke. dev-clean-2 and train-clean-5 are mini LibriSpeech.
    """
    from jasper.data.librispeech import prepare

    with long_work("run the command again"):
        manifests = prepare(root, subset, url=url, download=download)
    written = dict(zip(subset, map(str, manifests), strict=True))
    if as_json:
        print_json({"manifests": written})
    else:
        print_table("Manifests", ("subset", "manifest"), list(written.items()))


@app.command()
def folder(
    directory: Annotated[Path, typer.Argument(help="Folder of recordings; sub-folders are searched too.")],
    out: Annotated[Path, typer.Argument(help="Manifest to write.")],
    table: Annotated[
        Path | None, typer.Option(help="CSV or TSV with the texts, else a .txt or .lab each.")
    ] = None,
    audio_column: Annotated[str | None, typer.Option(help="The table's column of recordings.")] = None,
    text_column: Annotated[str | None, typer.Option(help="The table's column of texts.")] = None,
    speaker_from_folder: Annotated[bool, typer.Option(help="A recording's folder is its speaker.")] = False,
    skip_faulty: Annotated[bool, typer.Option(help="Report what cannot be used and leave it out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a manifest for a folder of recordings with their texts.

    Works with text files beside the recordings, Mozilla Common Voice's TSV, LJSpeech's metadata.csv, and
    any table with a column of recordings and one of texts.
    """
    from jasper.data.folder import manifest_from_folder
    from jasper.data.manifest import write_manifest

    faults: list[str] = []
    with long_work("run the command again"):
        utterances = manifest_from_folder(
            directory,
            table=table,
            audio_column=audio_column,
            text_column=text_column,
            speaker_from_folder=speaker_from_folder,
            report=faults.append if skip_faulty else None,
        )
    write_manifest(out, utterances)
    _tell("manifest", out, len(utterances), faults, as_json)


def _tell(key: str, place: object, num_utterances: int, faults: list[str], as_json: bool) -> None:
    """What was written where, and what was left out."""
    if as_json:
        print_json({key: str(place), "num_utterances": num_utterances, "left_out": faults})
        return
    for fault in faults:
        typer.echo(fault, err=True)
    typer.echo(f"{place}: {num_utterances} utterances written, {len(faults)} left out")


@app.command()
def shard(
    manifests: Annotated[list[str], typer.Argument(metavar="MANIFEST...", help="Manifests; URLs too.")],
    out: Annotated[str, typer.Argument(help="Folder, or a URL such as s3://bucket/train.")],
    shard_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of source files a shard, about.")
    ] = 500,
    num_shards: Annotated[int | None, typer.Option(min=1, help="So many, whatever their size.")] = None,
    target: Annotated[
        str, typer.Option("--format", help="keep (copy files, cut stretches losslessly), wav, flac or ogg.")
    ] = "keep",
    shuffle: Annotated[
        bool, typer.Option(help="Shuffle what is in the shards; the index keeps order.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Which shuffle.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Shards written at a time.")] = 4,
    skip_faulty: Annotated[bool, typer.Option(help="Report what cannot be read and leave it out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write WebDataset tar shards and OUT/index.jsonl, a manifest of them: train, eval and validate read it.

    The index is written last: an interrupted write leaves none, and the command is run again.
    """
    from jasper.data.manifest import read_table
    from jasper.data.shards import ShardOptions, write_shards
    from jasper.errors import ConfigError

    if target not in ("keep", "wav", "flac", "ogg"):
        raise ConfigError(f"--format {target}: known are keep, wav, flac, ogg")
    options = ShardOptions(shard_mb, num_shards, target, shuffle, seed, jobs)  # type: ignore[arg-type]
    faults: list[str] = []
    with long_work("run the command again"):
        utterances = read_table(*manifests)
        index = write_shards(utterances, out, options, report=faults.append if skip_faulty else None)
    _tell("index", index, len(utterances) - len(faults), faults, as_json)


@app.command()
def mindrecord(
    manifests: Annotated[list[str], typer.Argument(metavar="MANIFEST...", help="Manifests; URLs too.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards; it takes its place when it is whole.")],
    waves: Annotated[
        bool, typer.Option("--waves", help="Store recordings, so that training augments them as ever.")
    ] = False,
    config: Annotated[
        str, typer.Option(help="Preset, YAML file or model directory: its features and labels are stored.")
    ] = "jasper10x5dr",
    num_shards: Annotated[int, typer.Option(min=1, help="Shards; fewer where utterances are.")] = 8,
    jobs: Annotated[int, typer.Option(min=1, help="Threads that make features.")] = 4,
    skip_faulty: Annotated[bool, typer.Option(help="Report what cannot be used and leave it out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write MindRecord shards, as the MindSpore model zoo's Jasper reads them; training here reads them too.

    Stored features are of one speed and level in all epochs, and take more room than most recordings: store
    --waves unless the model zoo's own code shall read them. MindSpore must be installed.
    """
    from jasper.data.manifest import read_table
    from jasper.data.selection import with_labels
    from jasper.errors import MissingExtraError
    from jasper.recipe import load_config

    try:
        from jasper.mindspore.records import RecordOptions, write_records
    except ImportError:
        raise MissingExtraError("mindspore", "mindspore") from None
    source = Path(config) / "config.yaml" if Path(config).is_dir() else config
    faults: list[str] = []
    with long_work("run the command again"):
        utterances = read_table(*manifests)
        options = RecordOptions(num_shards, waves, jobs)
        report = faults.append if skip_faulty else None
        write_records(utterances, out, with_labels(load_config(source)), options, report)
    _tell("shards", out, len(utterances) - len(faults), faults, as_json)


@app.command()
def speak(
    texts: Annotated[Path, typer.Argument(help="A text a line.")],
    out: Annotated[Path, typer.Argument(help="Folder for the recordings and manifest.jsonl.")],
    voices: Annotated[int, typer.Option(help="Every text is spoken by so many.")] = 40,
    sample_rate: Annotated[int, typer.Option(help="Of the recordings, in Hz.")] = 16000,
    seed: Annotated[int, typer.Option(help="Which voices.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Speak texts in many synthetic English voices (espeak-ng), to add to recordings that are too few."""
    from jasper.demo.speak import speak_texts
    from jasper.errors import TextError

    try:
        lines = texts.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{texts}: cannot be read as UTF-8 text: {error}") from None
    with long_work("run the command again"):
        manifest = speak_texts(out, lines, num_voices=voices, sample_rate=sample_rate, seed=seed)
    if as_json:
        print_json({"manifest": str(manifest)})
    else:
        typer.echo(str(manifest))


@app.command()
def sounds(
    out: Annotated[Path, typer.Argument(help="Folder for the clips and manifest.jsonl.")],
    clips: Annotated[int, typer.Option(help="How many.")] = 1000,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 10.0,
    sample_rate: Annotated[int, typer.Option(help="Of the clips, in Hz.")] = 16000,
    seed: Annotated[int, typer.Option(help="Which sounds.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make sounds in which nobody speaks, for augment.noise: a network that hears them says nothing to noise.

    Birds, machines, alarms, weather, music and what has no name, synthesized from wide ranges.
    """
    from jasper.data.sounds import write_sounds

    with long_work("run the command again"):
        manifest = write_sounds(out, num_clips=clips, seconds=seconds, sample_rate=sample_rate, seed=seed)
    if as_json:
        print_json({"manifest": str(manifest)})
    else:
        typer.echo(str(manifest))


@app.command()
def validate(
    manifest: Manifest,
    config: Annotated[
        str, typer.Option(help="Preset, YAML file or model directory: check texts and limits by it.")
    ] = "jasper10x5dr",
    as_json: AsJson = False,
) -> None:
    """Read every line and every recording and list the faults; the exit code is 1 where there are any.

    The default configuration has the English letters and the limits of 0.1 and 16.7 s.
    """
    from jasper.data.selection import with_labels
    from jasper.data.validate import validate as run_validation
    from jasper.recipe import load_config

    with long_work("run the command again"):
        source = Path(config) / "config.yaml" if Path(config).is_dir() else config
        loaded = with_labels(load_config(source))
        limits = loaded.data.min_duration, loaded.data.max_duration
        report = run_validation(manifest, loaded.text, loaded.features, loaded.network.stride, *limits)
    if as_json:
        print_json({**asdict(report), "by_kind": report.by_kind})
    else:
        _print_report(report)
    if report.faults:
        raise typer.Exit(1)


@app.command()
def stats(manifest: Manifest, as_json: AsJson = False) -> None:
    """Count hours, durations, letters, words and speakers of a manifest."""
    from jasper.data.manifest import read_manifest
    from jasper.data.stats import manifest_stats

    counted = manifest_stats(read_manifest(manifest))
    if as_json:
        print_json(_stats_as_json(counted))
    else:
        _print_stats(counted)


def _stats_as_json(counted: ManifestStats) -> dict[str, object]:
    raw = asdict(counted)
    # JSON has no infinity: the last, open bin ends with null.
    raw["histogram"] = [
        {**bar, "end": None if bar["end"] == float("inf") else bar["end"]} for bar in raw["histogram"]
    ]
    return raw


def _print_report(report: ValidationReport) -> None:
    from jasper.data.validate import KINDS

    if not report.faults:
        typer.echo(f"{report.num_utterances} utterances, no faults")
        return
    rows = [(kind, str(count), KINDS[kind]) for kind, count in report.by_kind.items()]
    print_table(f"{report.num_utterances} utterances", ("fault", "count", "meaning"), rows)
    shown = report.faults[:MAX_EXAMPLES]
    title = f"The first {len(shown)} of {len(report.faults)} faults"
    examples = [(str(fault.line), fault.id, fault.kind, fault.message) for fault in shown]
    print_table(title, ("line", "id", "fault", "what was found"), examples)


def _print_stats(counted: ManifestStats) -> None:
    rows = [
        ("utterances", f"{counted.num_utterances:,}"),
        ("hours", f"{counted.hours:.2f}"),
        ("shortest, median, mean, longest", _seconds_line(counted)),
        ("words, distinct", f"{counted.num_words:,}, {counted.num_distinct_words:,}"),
        ("speakers", f"{len(counted.speakers):,}"),
        ("characters", " ".join(f"{character!r} {count:,}" for character, count in counted.alphabet.items())),
    ]
    print_table("Manifest", ("", ""), rows)
    largest = max((bar.num_utterances for bar in counted.histogram), default=0) or 1
    bars = [
        (
            f"over {bar.start:g} s" if bar.end == float("inf") else f"{bar.start:g} to {bar.end:g} s",
            f"{bar.num_utterances:,}",
            "█" * (40 * bar.num_utterances // largest),
        )
        for bar in counted.histogram
    ]
    print_table("Durations", ("", "utterances", ""), bars)


def _seconds_line(counted: ManifestStats) -> str:
    seconds = (counted.min_duration, counted.median_duration, counted.mean_duration, counted.max_duration)
    return ", ".join(f"{value:.2f} s" for value in seconds)
