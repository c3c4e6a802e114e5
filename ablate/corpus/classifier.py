"""A small classifier of texts, trained in seconds: hashed n-grams and logistic regression, as DCLM does with fastText.

    model = trained(good, rest)      texts that are wanted, and the domain's own text at random
    model.score(text)                between 0 and 1: how much like the good ones
    model.auc                        of a good and another held-out text, how often the good one scores higher

A text is cut into windows of characters, and a window is the mean over its n-grams of words (one and two) and of
characters (three to five): no list of words, so that any language and code will do. Numpy alone, and no random state:
equal texts in any order give equal weights.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ablate.corpus import words

WINDOW = 4096  # characters that are looked at at once
BUCKETS = 2**18  # that n-grams fall into
CHARACTERS = (3, 4, 5)  # of n-grams
HELD_OUT = 5  # one text in so many is not trained on
EPOCHS, BATCH, RATE = 8, 32, 2.0  # of AdaGrad
DECAY = 1e-6  # of weights, in each batch: what few texts have does not decide
FACTOR = np.uint64(words.FACTOR)


class Classifier(NamedTuple):
    weights: np.ndarray  # float32[BUCKETS]
    bias: float
    auc: float
    texts: tuple[int, int]  # that it was trained on: good ones, others

    def score(self, text: str) -> float:
        """Of the mean over the windows, each counted by its length."""
        sizes, means = zip(
            *((len(window) or 1, self.weights[grams(window)].mean()) for window in windows(text)), strict=True
        )
        return float(_sigmoid(np.array(self.bias + np.dot(sizes, means) / sum(sizes))))


def windows(text: str) -> Iterator[str]:
    """At least one."""
    yield from (text[start : start + WINDOW] for start in range(0, max(1, len(text)), WINDOW))


def trained(good: Sequence[str], rest: Sequence[str]) -> Classifier:
    """Texts of each kind count alike, however many there are. Raises ValueError for fewer than `HELD_OUT` of a kind."""
    kinds = [sorted(set(map(sample, texts)), key=order) for texts in (good, rest)]
    if min(map(len, kinds)) < HELD_OUT:
        raise ValueError(
            f"{len(kinds[0])} good texts and {len(kinds[1])} others: at least {HELD_OUT} of each are needed"
        )
    rows = [[grams(text) for number, text in enumerate(texts) if number % HELD_OUT] for texts in kinds]
    model = Classifier(*_fitted(*rows), auc=0.0, texts=(len(rows[0]), len(rows[1])))
    held_out = [np.array([model.score(text) for text in texts[::HELD_OUT]]) for texts in kinds]
    return model._replace(auc=auc(*held_out))


def order(text: str) -> int:
    """Sorts texts in a way that has nothing to do with what they say: 64 bits of a hash."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def sample(text: str) -> str:
    """One of the windows of a text, whichever its hash says: beginnings are alike, as licences are."""
    start = order(text) % max(1, len(text) // WINDOW) * WINDOW
    return text[start : start + WINDOW]


def _fitted(good: list[np.ndarray], rest: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """Logistic regression by AdaGrad, each batch half of good texts and half of others, the fewer ones repeated."""
    weights, squares, bias, bias_square = np.zeros(BUCKETS), np.full(BUCKETS, 1e-8), 0.0, 1e-8
    half, count = BATCH // 2, max(len(good), len(rest))
    for first in range(0, EPOCHS * count, half):
        batch = [kind[at % len(kind)] for kind in (good, rest) for at in range(first, first + half)]
        sizes = np.array([len(row) for row in batch])
        all_grams, of_row = np.concatenate(batch), np.repeat(np.arange(BATCH), sizes)
        logits = np.bincount(of_row, weights[all_grams], BATCH) / sizes + bias
        errors = _sigmoid(logits) - (np.arange(BATCH) < half)
        gradient = np.bincount(all_grams, (errors / sizes)[of_row], BUCKETS) / BATCH + DECAY * weights
        squares += gradient**2
        weights -= RATE * gradient / np.sqrt(squares)
        bias_square += errors.mean() ** 2
        bias -= 0.1 * errors.mean() / bias_square**0.5
    return weights.astype(np.float32), float(bias)


def auc(good: np.ndarray, rest: np.ndarray) -> float:
    """The share of pairs of a good text and another in which the good one scores higher; equal ones count half."""
    ordered = np.sort(rest)
    below = np.searchsorted(ordered, good, "left") + np.searchsorted(ordered, good, "right")
    return float(below.sum() / 2 / (len(good) * len(rest)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def grams(window: str) -> np.ndarray:
    """Buckets of the n-grams of a window; of one without any, one bucket."""
    points = np.frombuffer(window.lower().encode("utf-32-le"), np.uint32).astype(np.uint64) + np.uint64(1)
    found = [_mixed(_of_characters(points, length)) for length in CHARACTERS if len(points) >= length]
    of_words = words.words([window])
    found += [of_words.numbers_W, words.runs(of_words, 2)[:-1]]
    all_grams = np.concatenate(found) if found[0].size else np.zeros(1, np.uint64)
    return (all_grams % np.uint64(BUCKETS)).astype(np.int32)


def _of_characters(points: np.ndarray, length: int) -> np.ndarray:
    """A hash of each `length` characters in a row."""
    total = np.zeros(len(points) - length + 1, np.uint64)
    for place in range(length):
        total = total * FACTOR + points[place : len(points) - length + 1 + place]
    return total


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread over all bits, of which the lowest choose a bucket."""
    x = (hashes ^ (hashes >> np.uint64(32))) * words.MIXER
    return x ^ (x >> np.uint64(29))
