"""An exported folder, read as the other program reads it, beside the model that it was written from.

    logits   on held-out text, in rows of one token, of half a span and of a span: what is right at one length may be
             wrong at another
    tokens   of texts of eight scripts, with names of special tokens in them: as training cut them

What was found is kept with the folder, in words too.
"""

import contextlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from ablate.interchange.contract import Form, Leaving, Reader, Tolerance
from ablate.interchange.texts import texts
from ablate.run.settings import UserError

TEXTS = 1000
MEASURES = {
    "logits": "logits differ by at most this part of the largest:",
    "log p": "log p of a token differs by at most",
    "loss": "nats per token of a row differ by at most",
    "divergence": "predictions diverge by nats per token (KL) of at most",
}


def check(leaving: Leaving, form: Form, type: str, folder: Path) -> dict[str, Any]:
    """What was found. Raises UserError when the folder says something else than the model."""
    asked = form.tolerance(leaving, type)
    with contextlib.redirect_stderr(io.StringIO()):  # bars of other packages
        reader = form.reader(folder)
        said = _logits(leaving, reader, asked) | _tokens(leaving, reader)
    note = form.note(leaving, type)
    return {"words": [*_words(said, asked), *([note] if note else [])]} | said


def _logits(leaving: Leaving, reader: Reader, asked: Tolerance) -> dict[str, Any]:
    greatest, same, places = {}, 0, 0
    for tokens_T in _rows(leaving):
        ours_TV, theirs_TV = _ours(leaving, tokens_T), reader.logits(tokens_T)
        found = difference(asked.of, ours_TV, theirs_TV, tokens_T)
        if not found <= asked.most:
            line = f"{MEASURES[asked.of]} {found:.2g} in a row of {len(tokens_T)} tokens, and {asked.most:g} may be"
            raise UserError(f"not exported: read again, {line}; --no-check writes it all the same")
        greatest[str(len(tokens_T))] = found
        same += int((ours_TV.argmax(-1) == theirs_TV.argmax(-1)).sum())
        places += len(tokens_T)
    most = None if math.isinf(asked.most) else asked.most
    return {"of": asked.of, "allowed": most, "greatest": greatest, "same_likeliest": same, "places": places}


def difference(of: str, ours_TV: np.ndarray, theirs_TV: np.ndarray, tokens_T: list[int]) -> float:
    """By a key of MEASURES; not a number where one of the logits is none."""
    if of == "logits":  # which noise of float32 grows with: a long training makes them large
        return float(np.abs(ours_TV - theirs_TV).max() / max(1.0, np.abs(ours_TV).max()))
    ours_TV, theirs_TV = _log_p(ours_TV), _log_p(theirs_TV)
    if of == "log p":
        return float(np.abs(ours_TV - theirs_TV).max())
    if of == "divergence":
        return float((np.exp(ours_TV) * (ours_TV - theirs_TV)).sum(-1).mean())
    places_T, next_T = np.arange(len(tokens_T)), np.roll(tokens_T, -1)  # after the last any token will do: the first
    return float(abs((ours_TV - theirs_TV)[places_T, next_T].mean()))


def _log_p(logits_TV: np.ndarray) -> np.ndarray:
    high_TV = logits_TV.astype(np.float64) - logits_TV.max(-1, keepdims=True)
    return high_TV - np.log(np.exp(high_TV).sum(-1, keepdims=True))


def _ours(leaving: Leaving, tokens_T: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        return leaving.language.logits(torch.tensor([tokens_T]))[0].numpy()


def _rows(leaving: Leaving) -> list[list[int]]:
    """Held-out text, a domain after the other."""
    from ablate.data.tokens import opened

    corpus, lengths = opened(leaving.corpus_folder), sorted({1, max(1, leaving.span // 2), leaving.span})
    domains = [corpus.domains[number % len(corpus.domains)] for number in range(len(lengths))]
    streams = [corpus.tokens(domain, "validation") for domain in domains]
    return [np.asarray(stream[:length]).tolist() for stream, length in zip(streams, lengths, strict=True)]


def _tokens(leaving: Leaving, reader: Reader) -> dict[str, Any]:
    from ablate.data import tokenizer

    ours, same = tokenizer.load((leaving.corpus_folder / "tokenizer.json").read_text(encoding="utf-8")), 0
    for text in texts(TEXTS):
        found = reader.tokens(text)
        if found is None:
            return {"texts": 0, "same_tokens": 0}
        if list(found) != ours.encode(text, add_special_tokens=False).ids:
            raise UserError(f"not exported: {text!r} is cut into other tokens there; --no-check writes it all the same")
        same += 1
    return {"texts": TEXTS, "same_tokens": same}


def _words(said: dict[str, Any], asked: Tolerance) -> list[str]:
    *first, last = said["greatest"]
    allowed = "" if said["allowed"] is None else f"; {asked.most:g} may be"
    cut = f"{said['same_tokens']} of {said['texts']} texts are cut into the same tokens"
    return [
        f"{MEASURES[asked.of]} {max(said['greatest'].values()):.2g}, in rows of {', '.join(first)} and {last} tokens"
        + allowed,
        f"the likeliest token is the same at {said['same_likeliest']} of {said['places']} places",
        cut if said["texts"] else "it reads no text, only tokens",
    ]
