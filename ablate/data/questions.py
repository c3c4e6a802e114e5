"""Questions with worked steps and an answer that can be checked, generated without end.

`question(i)` depends on `i` alone, so any number of processes can ask for any of them:

    Question: Solve 3x + 7 = 40 for x.
    Steps: 3x = 40 - 7 = 33. x = 33 / 3 = 11.
    Answer: 11

Everything up to "Answer:" is a prompt. Numbers are whole, so a right answer is an equal one.

`alone(kind, index)` is a question of a kind that takes no turns and is a domain of its own:

    Question: What is 5 after a: plus 2, b: times 3, c: minus 6, d: plus 4?
    Steps: a: 5 + 2 = 7. b: 7 * 3 = 21. c: 21 - 6 = 15. d: 15 + 4 = 19.
    Answer: 19

Its numbers are so small that a tiny model learns to calculate with them, and so small that questions come twice. So
the text of a question decides whether it is for training or for tasks, not its index alone.
"""

import datetime
import hashlib
import itertools
import random
from collections.abc import Callable
from math import gcd
from typing import NamedTuple

NAMES = "Ada Ben Chloe Dev Emma Farid Grace Hana Ivan Jun Kofi Lena Mira Noah Olga Rosa Sam Tara".split()  # noqa: SIM905
GOODS = "apples books candles eggs games hats keys lamps mugs notebooks pencils shirts stamps".split()  # noqa: SIM905
CONVERSIONS = (
    ("kilometres", "metres", 1000),
    ("metres", "centimetres", 100),
    ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
    ("weeks", "days", 7),
    ("feet", "inches", 12),
    ("dozens", "pieces", 12),
)
TRAINED = 10**9  # text to train on is of indices below it; questions from here on are for tasks
LARGEST = 50  # number in a chain
TOLD = {"+": "plus", "-": "minus", "*": "times"}  # in words, by which items are looked for in training text
KEPT = 32  # of 256 questions of a kind alone, so many are for tasks


class Worked(NamedTuple):
    """What a kind of question gives: the question, the steps to its answer, the answer."""

    asked: str
    steps: str
    answer: str


class Question(NamedTuple):
    kind: str
    asked: str
    steps: str
    answer: str

    @property
    def text(self) -> str:
        return f"{self.prompt} {self.answer}"

    @property
    def prompt(self) -> str:
        """All but the answer."""
        return f"Question: {self.asked}\nSteps: {self.steps}\nAnswer:"


def question(index: int) -> Question:
    """The question number `index`, the same everywhere; kinds take turns."""
    kind = list(KINDS)[index % len(KINDS)]
    return Question(kind, *KINDS[kind](random.Random(f"question {index}")))


def alone(kind: str, index: int) -> Question:
    """The question number `index` of a kind alone, the same everywhere."""
    drawn = (ALONE[kind](random.Random(f"{kind} {index} {attempt}")) for attempt in itertools.count())
    return Question(kind, *next(one for one in drawn if for_tasks(one.asked) == (index >= TRAINED)))


def for_tasks(asked: str) -> bool:
    """Whether a question of a kind alone is for tasks, and so in no text to train on."""
    return hashlib.sha256(asked.encode()).digest()[0] < KEPT


def arithmetic(rng: random.Random) -> Worked:
    """Two operations, where precedence matters."""
    a, b, c = rng.randint(2, 999), rng.randint(2, 99), rng.randint(2, 29)
    product = b * c
    sign = rng.choice("+-")
    total = a + product if sign == "+" else a - product
    asked = rng.choice(("What is {}?", "Compute {}.", "Find the value of {}."))
    steps = f"{b} * {c} = {product}. {a} {sign} {product} = {total}."
    return Worked(asked.format(f"{a} {sign} {b} * {c}"), steps, str(total))


def division(rng: random.Random) -> Worked:
    """Whole quotient and remainder."""
    divisor, quotient, name, goods = rng.randint(3, 40), rng.randint(2, 60), rng.choice(NAMES), rng.choice(GOODS)
    rest = rng.randrange(divisor)
    total = divisor * quotient + rest
    asked = f"{name} packs {total} {goods} into boxes of {divisor}. How many {goods} are left over?"
    packed = total - rest
    steps = f"{total} // {divisor} = {quotient}. {quotient} * {divisor} = {packed}. {total} - {packed} = {rest}."
    return Worked(asked, steps, str(rest))


def shopping(rng: random.Random) -> Worked:
    """Prices, quantities and change."""
    name, (first, second) = rng.choice(NAMES), rng.sample(GOODS, 2)
    (n, m), (p, q) = (rng.randint(2, 12), rng.randint(2, 12)), (rng.randint(1, 20), rng.randint(1, 20))
    cost = n * p + m * q
    paid = (cost // 50 + 1) * 50
    asked = (
        f"{name} buys {n} {first} at ${p} each and {m} {second} at ${q} each, and pays with ${paid}. "
        "How many dollars of change are due?"
    )
    steps = f"{n} * {p} = {n * p}. {m} * {q} = {m * q}. {n * p} + {m * q} = {cost}. {paid} - {cost} = {paid - cost}."
    return Worked(asked, steps, str(paid - cost))


def units(rng: random.Random) -> Worked:
    """One conversion and an addition."""
    large, small, factor = rng.choice(CONVERSIONS)
    n, extra = rng.randint(2, 90), rng.randint(1, factor - 1)
    asked = f"How many {small} are {n} {large} and {extra} {small}?"
    steps = (
        f"{n} {large} = {n} * {factor} {small} = {n * factor} {small}. {n * factor} + {extra} = {n * factor + extra}."
    )
    return Worked(asked, steps, str(n * factor + extra))


def dates(rng: random.Random) -> Worked:
    """The date some days later, from month to month."""
    start = datetime.date(rng.randint(1900, 2099), rng.randint(1, 12), rng.randint(1, 28))
    days = rng.randint(5, 120)
    day, left, steps = start, days, []
    while left:
        step = min(left, (_next_month(day) - day).days)
        day, left = day + datetime.timedelta(days=step), left - step
        steps.append(f"{step} days to {day}, {left} left.")
    return Worked(f"Which date is {days} days after {start}?", " ".join(steps), str(day))


def _next_month(day: datetime.date) -> datetime.date:
    return (day.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)


def weekdays(rng: random.Random) -> Worked:
    """Days of the week are numbers modulo 7."""
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    today, days = rng.randrange(7), rng.randint(8, 400)
    rest = days % 7
    asked = f"Today is {names[today]}. Which day of the week is it in {days} days?"
    steps = f"{days} = 7 * {days // 7} + {rest}. {names[today]} plus {rest} days is {names[(today + rest) % 7]}."
    return Worked(asked, steps, names[(today + rest) % 7])


def algebra(rng: random.Random) -> Worked:
    """A linear equation with a whole solution."""
    a, x, b = rng.randint(2, 19), rng.randint(-30, 30), rng.randint(1, 99)
    c = a * x + b
    steps = f"{a}x = {c} - {b} = {c - b}. x = {c - b} / {a} = {x}."
    return Worked(f"Solve {a}x + {b} = {c} for x.", steps, str(x))


def fractions(rng: random.Random) -> Worked:
    """A sum of two fractions in lowest terms."""
    (a, b), (c, d) = ((rng.randint(1, 11), rng.randint(2, 12)) for _ in range(2))
    top, bottom = a * d + c * b, b * d
    common = gcd(top, bottom)
    answer = f"{top // common}/{bottom // common}"
    steps = (
        f"{a}/{b} = {a * d}/{bottom}. {c}/{d} = {c * b}/{bottom}. {a * d} + {c * b} = {top}. "
        f"{top} and {bottom} have the common divisor {common}: {answer}."
    )
    return Worked(f"What is {a}/{b} + {c}/{d} in lowest terms?", steps, answer)


def sequences(rng: random.Random) -> Worked:
    """The next term of an arithmetic progression, or of one whose differences grow by one."""
    start, step, growth = rng.randint(-50, 200), rng.randint(2, 40), rng.choice((0, 1))
    differences = [step + growth * i for i in range(5)]
    terms = list(itertools.accumulate([start, *differences]))
    asked = f"What comes next: {', '.join(map(str, terms[:5]))}?"
    steps = f"The differences are {', '.join(map(str, differences[:4]))}. {terms[4]} + {differences[4]} = {terms[5]}."
    return Worked(asked, steps, str(terms[5]))


def comparing(rng: random.Random) -> Worked:
    """A sum of three numbers, two of them given by difference."""
    names, goods, n = rng.sample(NAMES, 3), rng.choice(GOODS), rng.randint(20, 90)
    more, fewer = rng.sample(range(1, 20), 2)
    first, second, third = names
    asked = (
        f"{first} has {n} {goods}. {second} has {more} more than {first}. {third} has {fewer} fewer than {second}. "
        f"How many {goods} do they have together?"
    )
    b, c = n + more, n + more - fewer
    steps = f"{second}: {n} + {more} = {b}. {third}: {b} - {fewer} = {c}. {n} + {b} + {c} = {n + b + c}."
    return Worked(asked, steps, str(n + b + c))


def chains(rng: random.Random) -> Worked:
    """Four operations on small numbers, one after another. Some multiply, so that their order matters."""
    begin = value = rng.randint(1, 9)
    told, steps = list[str](), list[str]()
    for name in "abcd":
        by = {"+": rng.randint(2, 9), "-": rng.randint(2, 9), "*": rng.randint(2, 3)}
        results = {"+": value + by["+"], "-": value - by["-"], "*": value * by["*"]}
        sign = rng.choice([sign for sign, result in results.items() if 0 < result <= LARGEST])
        told.append(f"{name}: {TOLD[sign]} {by[sign]}")
        steps.append(f"{name}: {value} {sign} {by[sign]} = {results[sign]}.")
        value = results[sign]
    return Worked(f"What is {begin} after {', '.join(told)}?", " ".join(steps), str(value))


KINDS: dict[str, Callable[[random.Random], Worked]] = {
    "arithmetic": arithmetic,
    "division": division,
    "shopping": shopping,
    "units": units,
    "dates": dates,
    "weekdays": weekdays,
    "algebra": algebra,
    "fractions": fractions,
    "sequences": sequences,
    "comparing": comparing,
}
ALONE: dict[str, Callable[[random.Random], Worked]] = {"chains": chains}
