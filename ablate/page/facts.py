"""What the card of an arm says (`verdict.card`), a name and a sentence each: for a terminal and for the page."""

import math

from ablate.laws import worth
from ablate.laws.curves import Curve
from ablate.verdict.card import MANY, Card
from ablate.verdict.compare import bounds
from ablate.verdict.evidence import flops_text
from ablate.verdict.items import ItemNoise
from ablate.verdict.spread import Gain
from ablate.verdict.statistics import ladder as statistics
from ablate.verdict.statistics.shrink import Shrunken


def facts(card: Card, base: Curve | None = None) -> list[tuple[str, str]]:
    """What the card says, a name and a sentence each; only what is known. base: see `worth.of_base`."""
    v, effect = card.verdict, card.verdict.effect
    found = [("change", v.factor), ("against", f"{v.base}, {v.metric.name}, {len(v.differences)} seeds")]
    if card.shrunken:
        raced = "smallest detectable unknown: it raced; " if math.isnan(effect.p) else ""
        seen = raced if math.isnan(v.detectable) else f"smallest detectable {v.detectable:.4f}; "
        detectable = f"{seen}margin {v.margin:g}"
        found += [
            ("effect", f"{effect.mean:+.4f} {v.metric.unit} {bounds(effect.interval)}; {detectable}"),
            ("family", f"{v.family} arms; {_promise(card)}"),
            ("probably", f"{card.shrunken.mean:+.4f} {bounds(card.shrunken.interval)}; {_sign(card.shrunken)}"),
            ("noise", v.known.text),
        ]
    if base and card.shrunken:
        found += [("worth", _worth(card, base)), ("at scale", _at_scale(v.effect.mean / v.base_value))]
    if card.pairing:
        found.append(("pairing", _pairing(card.kind, card.pairing)))
    if card.passages and card.text_interval:
        rows = f"over {card.passages.rows} passages: error {card.passages.error:.4f}"
        found.append(("other text", f"{card.passages.mean:+.4f} {bounds(card.text_interval)} {rows}"))
    if card.items:
        found.append(("other items", _items(card.items, v.confidence)))
    if card.readings:
        found.append(("budget", ", ".join(reading.text for reading in card.readings)))
    if card.mixture:
        found.append(("text read", "; ".join(card.mixture)))
    found.append(("cost", f"{card.runs} runs, {flops_text(card.flops)}, {card.seconds / 60:.1f} min"))
    if card.detectable:
        found.append(("more seeds", _more(card)))
    return found + [("note", note) for note in (*v.remarks, *card.amendments)]


def _worth(card: Card, base: Curve) -> str:
    """`1.13 x the tokens of the base [1.05, 1.21]`, and of FLOPs where a run of the arm does not cost what its does."""
    if problem := worth.problem(base):
        return f"of the curve of {base.arm}, in tokens nothing can be said: {problem}"
    low, high = card.verdict.effect.interval
    found = worth.worth(base, card.verdict.effect.mean, (high - low) / 2)
    flops = next(reading for reading in card.readings if reading.name == "flops")
    text = f"{times(found)} the tokens of {base.arm}"
    return (
        text if math.isclose(flops.ratio, 1) else f"{text}; {times(found.times(1 / flops.ratio))} the FLOPs of the arm"
    )


def _at_scale(share: float) -> str:
    low, below, turned = statistics.turned(share)
    among = f"of {100 * low:g} to {100 * below:g} %" if math.isfinite(below) else f"of {100 * low:g} % and more"
    of = f"of effects {among} of the loss {100 * turned:.2g} % had the other sign at 60 times the size"
    return f"{100 * share:+.2f} % of the loss; {of} (RegMix: 256 mixtures at 1 M and 60 M parameters)"


def times(found: worth.Worth) -> str:
    """`1.13 x [1.05, 1.21]`"""
    low, high = (_multiple(end, found) for end in found.interval)
    return f"{_multiple(found.ratio, found)} x [{low}, {high}]"


def _multiple(ratio: float, found: worth.Worth) -> str:
    if ratio == 0:
        return f"below {found.least:.3g}"
    return f"above {found.most:.3g}" if math.isinf(ratio) else f"{ratio:.3g}"


def _items(noise: ItemNoise, confidence: float) -> str:
    out = f"; {noise.left_out} left out, which stand in training text" if noise.left_out else ""
    of = f"over {noise.items} items of {noise.sources} sources: error {noise.error:.4f}"
    return f"{noise.mean:+.4f} {bounds(noise.interval(confidence))} {of}{out}"


def _promise(card: Card) -> str:
    if math.isnan(card.verdict.effect.p):
        return f"at all looks of the race and for all arms together at {1 - card.verdict.confidence:.2g}"
    return f"this interval misses the effect in at most {card.level:.2g} of studies"


def _sign(shrunken: Shrunken) -> str:
    chance = f"{shrunken.wrong_sign:.2g}" if shrunken.wrong_sign >= 1e-4 else "below 0.0001"
    return f"no effect, or one of the other sign, with probability {chance}"


def _pairing(kind: str, pairing: Gain) -> str:
    cut = f"cuts the variance x{pairing.value:.3g}" if pairing.value > 1 else f"does not help (x{pairing.value:.2g})"
    return (
        f"{cut}: correlation {pairing.correlation:.2f} in {pairing.arms} arms ({kind}), {pairing.df} degrees of freedom"
    )


def _more(card: Card) -> str:
    seeds = len(card.verdict.differences)
    could = ", ".join(f"{n}: {size:.4f}" for n, size in card.detectable.items() if n > seeds)
    needed = [
        f"{what} needs {number or f'more than {MANY}'}"
        for what, number in (("this effect", card.seeds_for_effect), ("the margin", card.seeds_for_margin))
    ]
    level = (1 - card.verdict.confidence) * card.verdict.next_share
    return f"at the next look, judged at level {level:.2g}, could detect {could}; {', '.join(needed)}"
