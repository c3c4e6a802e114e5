"""Texts of eight scripts, to compare tokenizers by: words, digits, spaces of all kinds, code, and names of tokens.

Text number n is the same in every version: pieces drawn with n as the seed, and those that have gone wrong somewhere
first.
"""

import random

SCRIPTS = {
    "Latin": "The naïve café wasn't open: she'd gone élsewhere; Über Straße İstanbul ﬁne",
    "Greek": "Ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ Σίσυφος πρὸς τὸν θεόν",
    "Cyrillic": "Быть или не быть, вот в чём вопрос; щука съела ёлку",
    "Arabic": "السَّلامُ عَلَيْكُم ورحمة الله ١٢٣ كتاب",
    "Hebrew": "בְּרֵאשִׁית בָּרָא אֱלֹהִים את השמים",
    "Devanagari": "सभी मनुष्यों को गौरव और अधिकारों के मामले में १२३",
    "Han": "人人生而自由，在尊严和权利上一律平等。漢字かなカナ",
    "Hangul": "모든 인간은 태어날 때부터 자유로우며 존엄하다",
}
OTHERS = [
    *["12345", "3.14159", "1,000,000", "0x7f", "2+3=5", "½", "Ⅷ", "²"],
    *["def f(x):\n    return x", "{'a': [1]}", "<p>", "http://a.b/c?d=e", "a_b", "!!!", "...", "it's", "I'LL", "'s"],
    *["<|end|>", "<|endoftext|>", "</s>", "<s>", "<unk>", "[EOS]", "<|im_start|>user", "\ufeff", "\u200d", "e\u0301"],
    *["🙂", "👩‍👩‍👧", "🇮🇹", "𝔘", "\u00ad", "A" * 40, "=" * 20],
]
GAPS = ["", " ", " ", " ", "  ", "\n", "\n\n", "\t", " \n ", "\r\n", "\u00a0", "\u3000", "    "]
FIRST = [
    "",
    " ",
    "\n",
    " a",
    "a ",
    "  a  b",
    "<|end|>",
    "x<|end|>y",
    "User: 1 and 2?\nAssistant:",
    "\t\t\n",
    "a\u0000b",
]


def text(number: int) -> str:
    if number < len(FIRST):
        return FIRST[number]
    drawn = random.Random(number)
    script = list(SCRIPTS.values())[number % len(SCRIPTS)].split()  # each has one text in eight
    pieces = [drawn.choice(script if drawn.random() < 0.7 else OTHERS) for _ in range(drawn.randint(1, 12))]
    return "".join(piece + drawn.choice(GAPS) for piece in pieces)


def texts(count: int) -> list[str]:
    return [text(number) for number in range(count)]
