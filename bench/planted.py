"""Planted curves: losses whose law is known, most of them no law that is fitted.

    worlds(rng, "broken", n, 100)     100 curves without noise at n (tokens, 1 at the end), as functions

`broken` changes its exponent along the way (BNSL, Caballero et al. 2022), `two` is a sum of two powers, `hill` the MMF
law, `bowed` bends on both logarithms, `waving` wanders about its power law as runs do.
"""

from collections.abc import Callable

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]
KINDS = ("power", "two", "broken", "shifted", "bowed", "waving", "hill")
SPACINGS = {  # where a curve is evaluated, the end of it being 1
    "5 doublings": 2.0 ** np.arange(-6, -1),
    "30 points": np.linspace(0.09, 0.3, 30),
    "6 points": np.linspace(0.09, 0.3, 6),
}
NOISE = (2e-4, 3e-3)  # standard deviation of an evaluation, from and to


def worlds(rng: np.random.Generator, kind: str, number: int) -> list[Curve]:
    return [_world(rng, kind) for _ in range(number)]


def broken(rng: np.random.Generator, kind: str, n: np.ndarray, number: int) -> list[Curve]:
    """Power laws that rise (text read again and again), jump or take another slope in the middle half of n."""
    return [_breaking(rng, kind, float(rng.uniform(*np.quantile(n, [0.25, 0.75])))) for _ in range(number)]


def _breaking(rng: np.random.Generator, kind: str, place: float) -> Curve:
    law, sign = _world(rng, "power"), rng.choice([-1, 1])
    fall = float(law(np.array(0.1)) - law(np.array(1.0)))
    rises, jumps, bends = fall * rng.uniform([0.3, 0.1, 0.15], [1.5, 0.5, 0.5])
    return {
        "rises": lambda n: law(n) + rises * np.log(np.maximum(n / place, 1)) ** 1.5,
        "jumps": lambda n: law(n) + sign * jumps * (n > place),
        "bends": lambda n: law(n) + sign * bends * np.log(np.maximum(n / place, 1)),
    }[kind]


def _world(rng: np.random.Generator, kind: str) -> Curve:
    """E between 1.5 and 3.2; from a tenth of the way on, a fall of 0.2 to 1.2."""
    E, fall = rng.uniform(1.5, 3.2), rng.uniform(0.2, 1.2)
    shape = SHAPES[kind](rng, float(np.exp(rng.uniform(np.log(0.2), np.log(0.9)))))
    return lambda n: E + fall * shape(n) / shape(np.array(0.1))


def _power(rng: np.random.Generator, a: float) -> Curve:
    return lambda n: n**-a


def _two(rng: np.random.Generator, a: float) -> Curve:
    b, share = a * rng.uniform(1.5, 4), rng.uniform(0.2, 0.8)
    return lambda n: share * (n / 0.1) ** -a + (1 - share) * (n / 0.1) ** -b


def _broken(rng: np.random.Generator, a: float) -> Curve:
    change, place, sharpness = a * rng.uniform(-0.4, 1), 10 ** rng.uniform(-1, 0), rng.uniform(0.1, 0.6)
    return lambda n: n**-a * (1 + (n / place) ** (1 / sharpness)) ** (-change * sharpness)


def _shifted(rng: np.random.Generator, a: float) -> Curve:
    shift = rng.uniform(-0.008, 0.1)
    return lambda n: (n + shift) ** -a


def _bowed(rng: np.random.Generator, a: float) -> Curve:
    bow = rng.uniform(-0.06, 0.06)
    return lambda n: n**-a * np.exp(bow * np.log(n / 0.1) ** 2)


def _waving(rng: np.random.Generator, a: float) -> Curve:
    height, rate, phase = rng.uniform(0, 0.03), rng.uniform(1, 4), rng.uniform(0, 6)
    return lambda n: n**-a * (1 + height * np.sin(rate * np.log(n) + phase))


def _hill(rng: np.random.Generator, a: float) -> Curve:
    half = 10 ** rng.uniform(-2, -0.5)
    return lambda n: 1 / (1 + (n / half) ** a)


SHAPES = {
    "power": _power,
    "two": _two,
    "broken": _broken,
    "shifted": _shifted,
    "bowed": _bowed,
    "waving": _waving,
    "hill": _hill,
}
