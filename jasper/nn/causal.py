"""A causal language model of the `transformers` library in, a scorer of texts for `decode.rescore` out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from jasper.errors import LanguageModelError


class CausalScorer:
    """A causal language model of the `transformers` library, and its tokenizer, as a `TextScorer`.

    A text begins after the tokenizer's beginning of a sentence, or its end where it has none, and includes
    its end. Texts are scored `batch_size` at a time.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 32) -> None:
        self.model, self.tokenizer, self.batch_size = model.eval(), tokenizer, batch_size

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """See `TextScorer.score`."""
        batches = range(0, len(texts), self.batch_size)
        scores = [self._score(texts[begin : begin + self.batch_size]) for begin in batches]
        return np.concatenate(scores) if scores else np.zeros(0)

    def _score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        end = self.tokenizer.eos_token_id
        begin = end if self.tokenizer.bos_token_id is None else self.tokenizer.bos_token_id
        rows = [[begin, *self.tokenizer.encode(text, add_special_tokens=False), end] for text in texts]
        ids = torch.full((len(rows), max(map(len, rows))), end)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        inside = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            logits = self.model(ids.to(device), attention_mask=inside.long().to(device)).logits
            predicted = logits[:, :-1].double().log_softmax(-1).gather(-1, ids[:, 1:, None].to(device))
        scores: NDArray[np.float64] = (predicted[..., 0].cpu() * inside[:, 1:]).sum(1).numpy()
        return scores


def load(path: Path) -> CausalScorer:
    """The model of a folder, as `save_pretrained` writes one with its tokenizer; nothing is downloaded.

    Raises LanguageModelError for a folder of something else, ImportError where `transformers` is missing.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise LanguageModelError(f"{path}: no causal language model of transformers: {reason:.200}") from None
    if tokenizer.eos_token_id is None:
        raise LanguageModelError(f"{path}: its tokenizer has no token for the end of a text")
    return CausalScorer(model, tokenizer)
