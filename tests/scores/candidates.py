"""A small model with a real tokenizer, to be asked."""

import dataclasses
import functools
from typing import Any

import torch
from tokenizers import Tokenizer

from ablate.data import tokenizer
from ablate.model.language import build
from ablate.run.settings import Mamba, Model, Size
from ablate.scores.candidate import Candidate

SIZE = Size(width=32, depth=4, heads=4, kv_heads=2, hidden=48)
VOCABULARY, SPAN = 400, 128
TEXT = [
    "The house of the king stands by the sea, and the houses of his people stand behind it.",
    "Question: What is 2 + 2?\nAnswer: 4\n\nQuestion: What is the capital of Italy?\nAnswer: Rome\n",
    "if a == b:\n    return houses == 12\nperché la città è così bella? Roma, Parigi, Londra.",
] * 3


@functools.cache
def words() -> Tokenizer:
    return tokenizer.load(tokenizer.train(TEXT, VOCABULARY).to_str())


def candidate(its: Tokenizer | None = None, span: int = SPAN, **model: Any) -> Candidate:
    """`its` is the tokenizer, if it is not that of the small text."""
    its = its or words()
    asked = dataclasses.replace(Model(init_scale=1.5, mamba=Mamba(head_width=16, state=8)), **model)
    language = build(asked, SIZE, VOCABULARY, seed=0).eval()
    end = tokenizer.end_of(its)
    assert end is not None
    pieces = tokenizer.pieces(its, VOCABULARY)
    return Candidate(language, lambda text: its.encode(text, add_special_tokens=False).ids, pieces, end, span)


def naive(one: Candidate, text: str) -> float:
    """Nats of a whole text after the end token, one token after the other."""
    ids, nats = list(one.tokens(text)), 0.0
    with torch.no_grad():
        for i in range(1, len(ids)):
            nats -= one.language.logits(torch.tensor([ids[:i]]))[0, -1].double().log_softmax(-1)[ids[i]].item()
    return nats
