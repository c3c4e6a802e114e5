"""The best of several texts, by a model of rewards, and what it brings to keep it."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean, stdev

from ablate.corpus.samples import Judged
from ablate.data.tokenizer import Tokenizer, as_prompt, end_of
from ablate.model.language import LanguageModel
from ablate.scores.pairs import worths
from ablate.scores.readings import around


def ranked(judge: LanguageModel, tokenizer: Tokenizer, prompt: str, texts: Sequence[str]) -> list[str]:
    """The texts after a prompt, first that which the model of rewards finds worth most; equal ones keep their order."""
    end, asked = end_of(tokenizer), as_prompt(tokenizer, prompt)
    assert end is not None  # `data.tokenizer.read` says it politely
    whole = [[*asked, *tokenizer.encode(text, add_special_tokens=False).ids, end] for text in texts]
    return [texts[place] for _, place in sorted((-worth, place) for place, worth in enumerate(worths(judge, whole)))]


def of(judge: LanguageModel, tokenizer: Tokenizer, found: Sequence[Judged]) -> list[Judged]:
    """Of the samples of each prompt, which stand together, the one that is worth most."""
    kept = []
    for (_, asked), group in itertools.groupby(found, key=lambda one: one.sample.prompt):
        by_text = {one.sample.text: one for one in reversed(list(group))}  # of equal ones the first
        kept.append(by_text[ranked(judge, tokenizer, f"Question: {asked}\n", list(by_text))[0]])
    return kept


def gain(best: Sequence[Judged], found: Sequence[Judged]) -> str:
    """What it brings to keep the best of each prompt's samples, in a line; the interval is over prompts.

    The judge sees each text once, however often it was written. So beside it stands what one of them by lot would be:
    a judge may know something and still be worse than a sample, which is the text that the model writes most often.
    """
    rights = defaultdict[tuple[str, str], list[bool]](list)
    different = defaultdict[tuple[str, str], dict[str, bool]](dict)
    for one in found:
        rights[one.sample.prompt].append(one.right)
        different[one.sample.prompt][one.sample.text] = one.right
    gains = [one.right - fmean(rights[one.sample.prompt]) for one in best]
    error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else math.inf
    low, high = (100 * end for end in around(fmean(gains), error, max(len(gains) - 1, 1)))
    alone, kept = (100 * fmean(one.right for one in some) for some in (found, best))
    lot = 100 * fmean(fmean(texts.values()) for texts in different.values())
    some = 100 * fmean(any(of_prompt) for of_prompt in rights.values())
    return (
        f"best of {len(found) // len(best)}: {kept:.1f} % right, one sample {alone:.1f} %, "
        f"one of the different texts {lot:.1f} %, any {some:.1f} %; "
        f"{kept - alone:+.1f} points [{low:+.1f}, {high:+.1f}] over {len(best)} prompts"
    )
