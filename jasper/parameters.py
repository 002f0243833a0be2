"""A configuration in, name and shape of every weight of its network out."""

from __future__ import annotations

from collections.abc import Iterator

from jasper.config import BlockConfig, ModelConfig, wired

Shape = tuple[int, ...]


def weight_shapes(config: ModelConfig) -> dict[str, Shape]:
    """The arrays of a model directory in their order, running statistics of the batch norms among them."""
    shapes: dict[str, Shape] = {}
    widths = [config.features.num_features]
    for index, (block, sources) in enumerate(wired(config.network.blocks)):
        own = _block(block, widths[-1], [widths[source] for source in sources])
        shapes.update((f"blocks.{index}.{name}", shape) for name, shape in own)
        widths.append(block.filters)
    num_classes = len(config.text.labels) + 1
    return {**shapes, "head.weight": (num_classes, widths[-1], 1), "head.bias": (num_classes,)}


def _block(block: BlockConfig, width: int, sources: list[int]) -> Iterator[tuple[str, Shape]]:
    filters, kernel = block.filters, block.kernel
    widths = [width] + [filters] * (block.repeat - 1)
    for place, channels in enumerate(widths):
        if block.separable:
            yield f"convs.{place}.0.weight", (channels, 1, kernel)
            yield f"convs.{place}.1.weight", (filters, channels, 1)
        else:
            yield f"convs.{place}.weight", (filters, channels, kernel)
    for place in range(len(widths)):
        yield from _norm(f"norms.{place}", filters)
    for place, channels in enumerate(sources):
        yield f"residual_convs.{place}.weight", (filters, channels, 1)
    for place in range(len(sources)):
        yield from _norm(f"residual_norms.{place}", filters)
    if block.squeeze:
        yield "excitation.squeeze.weight", (filters // block.squeeze, filters)
        yield "excitation.excite.weight", (filters, filters // block.squeeze)


def _norm(name: str, filters: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (filters,)
