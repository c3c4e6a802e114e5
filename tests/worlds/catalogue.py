"""Worlds to search for the best mixture in, by kind; a seed is a world.

    interior    every domain is a target, and they differ in how much there is to learn
    outside     the targets are no domains: blends of rows that several domains teach
    vertex      one broad domain teaches what all targets need, and their own pools are small
    valleys     two domains that need much to be learned at all, and not enough tokens for both
    threshold   a domain of which a little teaches nothing
    flip        a domain that pays only with more tokens: `larger` has four times as many
    deceptive   the largest pools and the nearest domains are those that teach least

Seeds below SEALED are for tuning; those from there on are for grading only.
"""

from dataclasses import replace

import numpy as np

from tests.worlds.ngram import World

KINDS = ("interior", "outside", "vertex", "valleys", "threshold", "flip", "deceptive")
SEALED = 10_000
SYMBOLS, CONTEXTS = 8, 18
# Spread of the macro loss over mixtures drawn at random, in seed-sds, from and to: the small models of
# experiments/mix_sweep are near the lower end
SIGNAL = (4.0, 25.0)


def world(seed: int, kind: str | None = None, domains: int | None = None) -> World:
    """The world of a seed; the kind goes round with the seed, the number of domains is drawn."""
    rng = np.random.default_rng([7, seed])
    kind = kind or KINDS[seed % len(KINDS)]
    drawn = int(rng.integers(5, 13))
    return _with_noise(PLANTED[kind](kind, seed, domains or drawn, rng), rng)


def larger(small: World, times: float = 4.0) -> World:
    """The same world with more tokens to read."""
    return replace(small, tokens=small.tokens * times)


def _with_noise(quiet: World, rng: np.random.Generator) -> World:
    """Noise per target as a part of what mixtures can change."""
    drawn = rng.dirichlet(np.ones(quiet.num_domains), 400)
    signal = np.exp(rng.uniform(*np.log(SIGNAL)))
    sd = quiet.macro(drawn).std() / signal
    uneven = rng.uniform(0.5, 1.5, len(quiet.own))
    noise = sd * uneven / np.sqrt((uneven**2).sum()) * len(uneven)
    return replace(quiet, noise=noise, uneven=rng.uniform(0, 1.5))


def _rows(rng: np.random.Generator, num: int) -> np.ndarray:
    """Conditional distributions by domain and context: a domain takes the common row, or one of its own."""
    common = rng.dirichlet(np.full(SYMBOLS, 0.25), CONTEXTS)
    own = np.stack([rng.dirichlet(np.full(SYMBOLS, rng.choice([0.05, 0.25, 1.0])), CONTEXTS) for _ in range(num)])
    return np.where(rng.random((num, CONTEXTS, 1)) < rng.uniform(0, 0.9, (num, 1, 1)), common, own)


def _visits(rng: np.random.Generator, num: int) -> np.ndarray:
    """How often each domain is in each context: some know two, some all."""
    visits = np.zeros((num, CONTEXTS))
    for row in visits:
        width = round(np.exp(rng.uniform(np.log(2), np.log(CONTEXTS))))
        row[rng.choice(CONTEXTS, width, replace=False)] = rng.dirichlet(np.full(width, 1.5))
    return visits


def _plain(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    """Some domains are targets; pools are larger where there is more to learn, but not reliably."""
    visits = _visits(rng, num)
    domains = visits[..., None] * _rows(rng, num)
    tokens = float(np.exp(rng.uniform(np.log(600), np.log(6000))))
    own = np.sort(rng.choice(num, rng.integers(max(2, num // 3), num + 1), replace=False))
    width = (visits > 0).sum(1) / CONTEXTS
    return World(
        kind=kind,
        seed=seed,
        domains_KXV=domains,
        targets_TXV=domains[own],
        own=tuple(own.tolist()),
        match=np.bincount(own, minlength=num) / len(own),
        tokens=tokens,
        pools=tokens * width ** rng.uniform(0, 1) * np.exp(rng.normal(0, 0.7, num)),
        kappa=float(np.exp(rng.uniform(np.log(10), np.log(200)))),
    )


def _interior(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    return _plain(kind, seed, num, rng)


def _outside(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    base = replace(_plain(kind, seed, num, rng), tagged=False)
    blends = rng.dirichlet(np.full(num, 0.4), int(rng.integers(1, 4)))
    targets = np.tensordot(blends, base.domains_KXV, 1)
    # Sharper than any blend of what is taught: no mixture reproduces it
    targets = targets**1.5 / (targets**1.5).sum((1, 2), keepdims=True)
    return replace(base, targets_TXV=targets, own=(-1,) * len(targets), match=blends.mean(0))


def _vertex(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    base = replace(_plain(kind, seed, num, rng), tagged=False)
    broad = base.domains_KXV[1:].mean(0) ** 1.2
    domains = np.concatenate([broad[None] / broad.sum(), base.domains_KXV[1:]])
    blends = rng.dirichlet(np.full(num - 1, 3.0), 2)
    targets = 0.9 * domains[0] + 0.1 * np.tensordot(blends, domains[1:], 1)
    pools = np.append(base.tokens * 4, base.tokens * rng.uniform(0.02, 0.5, num - 1))
    return replace(
        base,
        domains_KXV=domains,
        targets_TXV=targets,
        own=(-1, -1),
        match=np.append(0.1, 0.9 * blends.mean(0)),
        pools=rng.permutation(pools) if rng.random() < 0.5 else pools,
    )


def _valleys(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    base = replace(_plain(kind, seed, num, rng), tagged=False)
    domains, half = base.domains_KXV.copy(), CONTEXTS // 2
    for k in (0, 1):  # contexts that the other has not, all of which must be seen often
        visits = np.zeros(CONTEXTS)
        visits[half * k : half * (k + 1)] = rng.dirichlet(np.full(half, 60.0))
        domains[k] = visits[:, None] * rng.dirichlet(np.full(SYMBOLS, 0.1 + 0.1 * k), CONTEXTS)
    return replace(
        base,
        domains_KXV=domains,
        targets_TXV=domains[:2],
        own=(0, 1),
        threshold=base.tokens * rng.uniform(0.7, 0.9) / half,
        pools=base.tokens * rng.uniform(1, 3, num),
        match=np.append([0.5, 0.5], np.zeros(num - 2)),
    )


def _threshold(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    base = replace(_plain(kind, seed, num, rng), tagged=False)
    return replace(base, threshold=base.tokens * rng.uniform(0.3, 1.0) / CONTEXTS)


def _flip(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    base = replace(_plain(kind, seed, num, rng), tagged=False)
    return replace(base, threshold=base.tokens * rng.uniform(1.0, 2.0) / CONTEXTS)


def _deceptive(kind: str, seed: int, num: int, rng: np.random.Generator) -> World:
    """Targets that a few tokens teach, with large pools, and one without text of its own: others teach it."""
    base = _plain(kind, seed, num, rng)
    easy = rng.permutation(num)[: num // 2]
    domains = base.domains_KXV.copy()
    for k in easy:
        visits = np.zeros(CONTEXTS)
        visits[rng.choice(CONTEXTS, 2, replace=False)] = 0.5
        domains[k] = visits[:, None] * rng.dirichlet(np.full(SYMBOLS, 0.1), CONTEXTS)
    is_easy = np.isin(np.arange(num), easy)
    blend = np.where(is_easy, 0, rng.dirichlet(np.ones(num)))
    hard = np.tensordot(blend / blend.sum(), domains, 1)
    return replace(
        base,
        domains_KXV=domains,
        targets_TXV=np.concatenate([domains[easy], hard[None]]),
        own=(*easy.tolist(), -1),
        match=(is_easy + 1 / num) / (len(easy) + 1),
        pools=base.tokens * np.where(is_easy, 2.0, 0.5),
    )


PLANTED = {
    "interior": _interior,
    "outside": _outside,
    "vertex": _vertex,
    "valleys": _valleys,
    "threshold": _threshold,
    "flip": _flip,
    "deceptive": _deceptive,
}
