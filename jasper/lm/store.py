"""A model to a file that is mapped into memory in place of being read, and back: a safetensors file.

Only the header and the vocabulary are read when it is opened; the search touches the pages that it needs.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from jasper.errors import LanguageModelError
from jasper.lm.arpa import read_arpa
from jasper.lm.ngram import NGram, NodeTable, frozen
from jasper.storage import atomic_file

FORMAT = "jasper n-gram 1"
MAX_HEADER = 1 << 16  # bytes; ours have about 1,000
DTYPES: dict[str, np.dtype[Any]] = {"I32": np.dtype("<i4"), "F32": np.dtype("<f4"), "U8": np.dtype("u1")}


def load(path: str | Path) -> NGram:
    """Read a model: an ARPA file, plain or gzipped, or one of `write_binary`."""
    try:
        with Path(path).open("rb") as file:
            begin = file.read(4096)
    except OSError as error:
        raise LanguageModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    return read_binary(path) if FORMAT.encode() in begin else read_arpa(path)


def write_binary(path: str | Path, model: NGram) -> None:
    """Write a model so that it opens at once."""
    from safetensors.numpy import save_file

    blob = np.frombuffer("\n".join(model.words).encode(), np.uint8)
    metadata = {"format": FORMAT, "num_ngrams": json.dumps(model.num_ngrams)}
    with atomic_file(Path(path)) as temporary:
        save_file({**model.table._asdict(), "words": blob}, temporary, metadata)


def read_binary(path: str | Path) -> NGram:
    """Open a file of `write_binary`. Raises LanguageModelError for one that is truncated or no such file."""
    try:
        arrays, metadata = _map(Path(path))
        num_ngrams = tuple(int(count) for count in json.loads(metadata["num_ngrams"]))
        words = arrays.pop("words").tobytes().decode().split("\n")
        model = NGram(len(num_ngrams), words, frozen(NodeTable(**arrays)), num_ngrams)
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise LanguageModelError(f"{path}: truncated, or no language model of jasper: {error}") from None
    if not _consistent(model):
        raise LanguageModelError(f"{path}: its arrays do not fit each other; build it again")
    return model


def _map(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays by name, each a view of the mapped file, and the metadata."""
    data = np.memmap(path, np.uint8, mode="r")
    (size,) = struct.unpack("<Q", data[:8].tobytes())
    if size > MAX_HEADER:
        raise ValueError(f"a header of {size} bytes")
    header = json.loads(data[8 : 8 + size].tobytes())
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= len(data) - 8 - size:
            raise ValueError(f"{name} ends at byte {end} of {len(data) - 8 - size}")
        arrays[name] = np.asarray(data[8 + size + begin : 8 + size + end]).view(DTYPES[entry["dtype"]])
    return arrays, metadata


def _consistent(model: NGram) -> bool:
    """Whether no lookup can leave the arrays, as far as their sizes and ends tell without reading them."""
    table = model.table
    num_nodes, num_inner = 1 + sum(model.num_ngrams), 1 + sum(model.num_ngrams[:-1])
    return (
        model.num_ngrams[:1] == (len(model.words),)
        and len(table.word) == len(table.log_prob) == len(table.suffix) == num_nodes
        and len(table.backoff) == num_inner
        and len(table.first) == num_inner + 1
        and int(table.first[-1]) == num_nodes
    )
