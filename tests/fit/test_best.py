"""The best of several samples, and what it brings."""

from ablate.corpus.samples import Sample, judged
from ablate.fit import best


def asked(prompt: str, *texts: str) -> list[Sample]:
    return [Sample(prompt, "", prompt, "4", number, f"Answer: {text}") for number, text in enumerate(texts)]


def test_what_the_best_brings_is_over_prompts():
    """A sample that is right again counts as right, though it is no new row."""
    found = judged([*asked("a", "4", "4", "5", "6"), *asked("b", "5", "6", "7", "4"), *asked("c", "7", "8", "9", "5")])
    kept = [found[0], found[7], found[8]]  # right, right, wrong: gains of 1/2, 3/4 and 0 over a sample of each
    line = best.gain(kept, found)
    assert line.startswith(
        "best of 4: 66.7 % right, one sample 25.0 %, one of the different texts 19.4 %, any 66.7 %; "
    )
    assert line.endswith("+41.7 points [-53.2, +136.5] over 3 prompts")  # 4.303 * 0.3819 / sqrt(3) = 0.949


def test_of_one_prompt_there_is_no_interval():
    found = judged(asked("a", "4", "5"))
    assert best.gain(found[:1], found).endswith("+50.0 points [-inf, +inf] over 1 prompts")
