"""Measured rounds in, medians, ratios and what they were meant to be out, as a dict or a table."""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any

Rounds = dict[str, list[dict[str, Any]]]


def summarize(rounds: Rounds, options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds of every row, in each round the fastest run."""
    rows = {
        name: {
            "seconds": statistics.median(each["seconds"] for each in measured),
            "peak_mib": statistics.median(each["peak_mib"] for each in measured),
        }
        for name, measured in rounds.items()
    }
    for row in rows.values():
        row["times_real_time"] = options.seconds / row["seconds"]
    head = {key: getattr(options, key) for key in ("network", "small", "seconds", "threads", "rounds")}
    return {**head, "rows": rows}


def as_text(result: dict[str, Any]) -> str:
    """A table for the terminal, then each aim and whether it is met."""
    lines = [
        f"{result['network']}, one clip of {result['seconds']:g} s, {result['threads']} threads, "
        f"medians of {result['rounds']} rounds",
        f"{'':22}{'s':>8}{'x real time':>14}{'peak MiB':>10}",
    ]
    lines += [
        f"{name:22}{row['seconds']:8.3f}{row['times_real_time']:14.1f}{row['peak_mib']:10.0f}"
        for name, row in result["rows"].items()
    ]
    parts = result["parts"]
    lines += [
        f"{'met' if met else 'NOT MET':8}{text}"
        for met, text in (*_speed(result["rows"]), *_parts(parts, result["small"]))
    ]
    share = ", ".join(f"{name} {1000 * seconds:.2f} ms" for name, seconds in parts["share"].items())
    return "\n".join([*lines, f"{result['small']} int8: {share}"])


def _speed(rows: dict[str, Any]) -> list[tuple[bool, str]]:
    def best(*starts: str) -> float:
        found = [row["seconds"] for name, row in rows.items() if name.startswith(starts)]
        return min(found, default=float("nan"))

    def of(precision: str, mine: bool) -> float:
        kinds = ("jasper torch", "jasper onnx", "jasper openvino") if mine else ("onnxruntime", "openvino")
        return best(*(f"{kind} {precision}" for kind in kinds))

    eager = best("eager fp32")
    ratios = [
        ("fp32: the best plain export takes", of("fp32", False) / of("fp32", True), 1.0),
        ("bf16: eager fp32 takes", eager / of("bf16", True), 2.3),
        ("int8: eager fp32 takes", eager / of("int8", True), 5.0),
        ("int8: the best plain export takes", of("int8", False) / of("int8", True), 1.0),
    ]
    aims = [
        (ratio >= aim, f"{text} {ratio:.2f} x our time (aim {aim:g})")
        for text, ratio, aim in ratios
        if not math.isnan(ratio)  # one of them was not measured
    ]
    if "jasper openvino int8" in rows:
        peak = rows["jasper openvino int8"]["peak_mib"]
        aims.append((peak < 1200, f"int8: peak memory {peak:.0f} MiB (aim 1200)"))
    return aims


def _parts(parts: dict[str, Any], small: str) -> list[tuple[bool, str]]:
    alone, together = parts["queue"]["one by one"], parts["queue"]["together"]
    aims = []
    for place, text in enumerate(("clips seen for the first time", "shapes known already")):
        ratio = statistics.median(r["seconds"][place] for r in alone) / statistics.median(
            r["seconds"][place] for r in together
        )
        aims.append((ratio >= 1.15, f"queue, {text}: one by one takes {ratio:.2f} x as long (aim 1.15)"))
    changed = sum(one != other for one, other in zip(alone[0]["texts"], together[0]["texts"], strict=True))
    aims.append((changed == 0, f"queue: {changed} of {len(alone[0]['texts'])} texts changed (aim 0)"))
    aims += [
        (
            row["seconds"] < 1.5,
            f"start to text, {small} {name}, a clip of 5 s: {row['seconds']:.2f} s (aim 1.5)",
        )
        for name, row in parts["start"].items()
    ]
    share = parts["share"]
    rest = sum(share[name] for name in ("features", "search", "writing"))
    rest /= rest + share["network"]
    aims.append((rest < 0.05, f"features, search and writing: {rest:.1%} of {small} int8 (aim 5 %)"))
    return aims
