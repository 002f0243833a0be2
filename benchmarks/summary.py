"""Measured rounds in, medians and ratios out, as a dict or a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from workload import Work


def summarize(rounds: Sequence[Work], names: Sequence[str], work: Work) -> Work:
    """Medians over the rounds, and how much faster ours is than each of the others."""
    peaks = {kind: [r["peak"][kind] for r in rounds] for kind in ("fp32", "bf16")}
    peak = {kind: statistics.median(values) if values[0] else None for kind, values in peaks.items()}
    rows = {}
    for name in names:
        batches = work["buckets" if name == "ours" else "random"]
        audio = sum(map(sum, batches))
        padded = sum(len(batch) * max(batch) for batch in batches)
        seconds = statistics.median(sum(r[name]["step_s"]) for r in rounds)
        rows[name] = {
            "audio_s_per_s": audio / seconds,
            "utterances_per_s": sum(map(len, batches)) / seconds,
            "seconds_per_step": seconds / len(batches),
            "peak_mib": statistics.median(r[name]["peak_mib"] for r in rounds),
            "padding": 1 - audio / padded,
            "share_of_fp32_peak": work["flops"] * audio / seconds / peak["fp32"],
            "share_of_bf16_peak": work["flops"] * audio / seconds / peak["bf16"] if peak["bf16"] else None,
        }
    ours = rows["ours"]["audio_s_per_s"]
    ratios = {name: ours / row["audio_s_per_s"] for name, row in rows.items() if name != "ours"}
    return {
        "network": work["network"],
        "device": torch.cuda.get_device_name() if work["device"] == "cuda" else "cpu",
        "threads": work["threads"],
        "rounds": len(rounds),
        "matmul_gflops": {kind: value and value / 1e9 for kind, value in peak.items()},
        "measured": rows,
        "ours_times_faster_than": ratios,
    }


def as_text(result: Work) -> str:
    """A table for the terminal."""
    peak = {kind: f"{value:,.0f}" if value else "-" for kind, value in result["matmul_gflops"].items()}
    lines = [
        f"{result['network']} on {result['device']}, {result['threads']} threads, "
        f"medians of {result['rounds']} rounds; "
        f"matrix product: fp32 {peak['fp32']}, bf16 {peak['bf16']} GFLOP/s",
        "            audio s/s   utt/s  s/step     MiB  padding  of fp32  of bf16",
    ]
    for name, row in result["measured"].items():
        share = row["share_of_bf16_peak"]
        lines.append(
            f"{name:10} {row['audio_s_per_s']:10.2f} {row['utterances_per_s']:7.2f} "
            f"{row['seconds_per_step']:7.2f} {row['peak_mib']:7.0f} {row['padding']:8.1%} "
            f"{row['share_of_fp32_peak']:8.0%} " + (f"{share:8.0%}" if share is not None else f"{'-':>8}")
        )
    lines += [
        f"ours is {ratio:.2f} times as fast as {name}"
        for name, ratio in result["ours_times_faster_than"].items()
    ]
    return "\n".join(lines)
