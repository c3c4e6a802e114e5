"""Ideas judged one after another, for as long as anybody has ideas: which are kept, and how many of them falsely.

An idea is trained in pairs with the incumbent, every pair on a fresh seed; a difference d below 0 is better. A stake
from the pot is bet on each idea, and what it has become after n pairs says when enough is known:

    stake      pot / (ideas + number)      the pot begins as alpha, the first idea has the number 1
    wealth     W = product over pairs of  1 - sign(d) tanh(effect |d| / rms)      rms: of the differences up to this one
    keep       W >= 1 / stake
    discard    W <= hopeless               then, and when an idea is kept, stake x min(1, W) goes back to the pot
    retest     neither after twice the fewest pairs that keep (`most`); more pairs go on with the same W

Promised: the probability that the whole stream, however long, keeps any false idea is at most alpha. False is an idea
whose differences are symmetric about 0, or about a value above 0. So are those of a change that does nothing, as idea
and incumbent might change places. The noise may have any shape and size, and others in every idea and every pair: rms
sets the size of a bet and nothing else. Ideas may be chosen by all that was seen before, be tried again, and be left.

Why: given the past and |d|, the sign of a false idea is as likely to be above 0 as below, so W is not expected to rise;
about a value above 0 still less, since the bet is odd and grows with d. Let M be the pot, with stake x W of each false
idea that is open and the stake of each other. M begins as alpha and is not expected to rise: at its end an idea gives
back no more than M held of it. A false keep makes M reach 1, and the probability of that is at most alpha (Ville 1939).

So alpha is earned back only as far as it was staked: in full by a keep, in part by a discard. Alpha-investing (Foster
and Stine 2008) pays more for a keep, and bounds the share of false keeps, not the probability of any. Were nothing
given back, the stakes would add up to alpha: half of it in the first `ideas` ideas.

Not promised: that the mean is better, where noise is skewed otherwise in the idea than in the incumbent. An idea that
is a little better in most seeds, and much worse in a few, may be kept.

A whole stream, where `differences` gives those of an idea, one after another:

    pot = rule.alpha
    for number, differences in enumerate(ideas, start=1):
        staked, found = stake(pot, number, rule), []
        while not (judged := judge(found, staked, rule)).word:
            found.append(next(differences))
        pot -= staked if judged.word == "retest" else staked - given_back(staked, judged.wealth)

Sources: bets on the sign of symmetric differences, de la Pena 1999 (Ann. Probab. 27:537) and Ramdas et al. 2020 (arXiv
2009.03167); wealth as evidence, Shafer 2021 (JRSS A 184:407); a level that goes on after a rejection, the fallback of
Wiens 2003, online in Tian and Ramdas 2021 (Stat. Methods Med. Res. 30:976). A t test of the same level finds two
standard deviations with 10 pairs where this rule takes 12.7 on average, but bounds nothing where noise is not normal:
`python -m bench gate` has its rates beside those of this rule.

    >>> judge([-0.02] * 12, stake=0.0005, rule=Rule()).word
    'keep'
    >>> judge([0.01], stake=0.0005, rule=Rule()).word
    'discard'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Word = Literal["keep", "discard", "retest", ""]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How strict a gate is."""

    alpha: float = 0.05  # probability of any false keep, in the whole stream
    ideas: int = 100  # the number of ideas by which half of alpha is staked
    effect: float = 2.0  # bets are made for ideas of this size, in standard deviations of a difference
    hopeless: float = 0.3  # wealth at which an idea is given up


@dataclass(frozen=True)
class Judged:
    """One idea: no word means that it needs another pair."""

    word: Word
    pairs: int  # at which the word fell, or all there are
    wealth: float


@dataclass(frozen=True)
class Ends:
    """Of many ideas, arrays; an idea that is neither kept nor discarded has all its pairs."""

    kept: np.ndarray
    discarded: np.ndarray
    pairs: np.ndarray
    wealth: np.ndarray


def stake(pot: np.ndarray | float, number: int, rule: Rule) -> np.ndarray | float:
    """Of the idea of that number, the first being 1."""
    return pot / (rule.ideas + number)


def given_back(stake: np.ndarray | float, wealth: np.ndarray | float) -> np.ndarray | float:
    """To the pot, by an idea that is kept or discarded."""
    return stake * np.minimum(1.0, wealth)


def fewest(stake: float, rule: Rule) -> int:
    """Pairs that keep an idea whose differences are all alike."""
    return math.ceil(-math.log(stake) / math.log1p(math.tanh(rule.effect)))


def most(stake: float, rule: Rule) -> int:
    """Pairs after which an idea that is undecided is left for a retest."""
    return 2 * fewest(stake, rule)


def wealths(differences: np.ndarray, effect: float) -> np.ndarray:
    """What a stake of 1 has become after each pair; pairs lie along the last axis."""
    pairs = np.arange(1, differences.shape[-1] + 1)
    rms = np.sqrt(np.cumsum(differences**2, -1) / pairs)
    size = np.divide(differences, rms, out=np.zeros_like(rms), where=rms > 0)
    return np.cumprod(1 - np.tanh(effect * size), -1)


def ends(differences: np.ndarray, stakes: np.ndarray, rule: Rule) -> Ends:
    """Each idea as far as it was needed, of differences [..., pairs] and stakes [...]."""
    wealth = wealths(differences, rule.effect)
    keep, leave = wealth * stakes[..., None] >= 1, wealth <= rule.hopeless
    decided = keep | leave
    last = np.where(decided.any(-1), decided.argmax(-1), wealth.shape[-1] - 1)
    kept, left, final = (np.take_along_axis(one, last[..., None], -1)[..., 0] for one in (keep, leave, wealth))
    return Ends(kept, left, last + 1, final)


def judge(differences: Sequence[float], stake: float, rule: Rule, limit: int | None = None) -> Judged:
    """One idea; pairs after the one that decided it change nothing. `limit`: `most`, if not given."""
    if not len(differences):
        return Judged("", 0, 1.0)
    end = ends(np.array(differences, dtype=float), np.array(stake), rule)
    undecided: Word = "retest" if len(differences) >= (limit or most(stake, rule)) else ""
    word: Word = "keep" if end.kept else "discard" if end.discarded else undecided
    return Judged(word, int(end.pairs), float(end.wealth))
