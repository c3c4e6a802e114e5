"""Known dirt, made of clean text: what a rule of level 2 must find. Equal text and random state, equal dirt."""

import base64
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
SYMBOLS = [*"#$%&*+<=>@^|~{}[]\\¬§¶†‡•■□▲◆★"]


def lost_bytes(text: str, rng: Rng) -> str:
    """Some of its bytes are others: what does not decode is U+FFFD."""
    raw = np.frombuffer(text.encode(), dtype=np.uint8).copy()
    places = rng.random(len(raw)) < rng.uniform(0.02, 0.1)
    raw[places] = rng.integers(0, 256, int(places.sum()), dtype=np.uint8)
    return raw.tobytes().decode(errors="replace")


def mojibake(text: str, rng: Rng) -> str:
    """UTF-8 that was read as Windows-1252."""
    return text.encode().decode("cp1252", errors="ignore")


def base64_lines(text: str, rng: Rng) -> str:
    return base64.encodebytes(text.encode()).decode().strip()


def hexadecimal(text: str, rng: Rng) -> str:
    return text[:100] + "\n" + text.encode().hex()


def symbols(text: str, rng: Rng) -> str:
    """Half of its letters are signs."""
    signs, goes = rng.choice(SYMBOLS, size=3000).tolist(), rng.random(3000) < 0.5
    return "".join(
        signs[place] if goes[place] and letter.strip() else letter for place, letter in enumerate(text[:3000])
    )


def lines(text: str, rng: Rng) -> str:
    """One of its lines again and again, three times as long as the rest."""
    parts = [line for line in text.split("\n") if len(line.encode()) >= 20] or [text]
    line = parts[rng.integers(len(parts))][:300]
    rest = text[:3000]
    return rest + "\n" + "\n".join([line] * (3 * len(rest) // len(line) + 3))


def paragraphs(text: str, rng: Rng) -> str:
    """A part of it again and again."""
    part = text[: int(rng.integers(200, 600))]
    return "\n\n".join([part] * int(rng.integers(5, 15)))


def loop(text: str, rng: Rng) -> str:
    """It ends as a model does that has lost its way: a few words without end."""
    words = text.split()[:4] if text.isascii() or " " in text[:100] else [text[:8]]
    return text[:200] + " " + " ".join(words * 100)


def spam(text: str, rng: Rng) -> str:
    """A dozen words of it in any order, with addresses between."""
    words = [word for word in text.split() if len(word) < 30][:12] or [text[:4], text[4:8], text[8:12]]
    return " ".join(str(rng.choice(words)) if rng.random() < 0.9 else "http://win.example/buy" for _ in range(300))


def truncated(text: str, rng: Rng) -> str:
    """Its first few words."""
    return text[: int(rng.integers(3, 20))]


DIRT: dict[str, Callable[[str, Rng], str]] = {
    "lost bytes": lost_bytes,
    "mojibake": mojibake,
    "base64": base64_lines,
    "hexadecimal": hexadecimal,
    "symbols": symbols,
    "lines": lines,
    "paragraphs": paragraphs,
    "loop": loop,
    "spam": spam,
    "truncated": truncated,
}


def can(name: str, text: str) -> bool:
    """Whether a text shows that dirt: one of plain letters is the same in any encoding."""
    return name != "mojibake" or sum(not letter.isascii() for letter in text) >= 0.01 * len(text)


def edited(text: str, rng: Rng, share: float) -> str:
    """A copy with a share of its words replaced, none that holds a digit; of characters, where there are no spaces."""
    spaced = text.count(" ") > len(text) / 20
    parts = text.split(" ") if spaced else [*text]
    for place in np.flatnonzero(rng.random(len(parts)) < share):
        if not any(map(str.isdigit, parts[place])):
            parts[place] = "".join(rng.permutation([*"abcdefgh"])) if spaced else chr(int(rng.integers(0x4E00, 0x9000)))
    return (" " if spaced else "").join(parts)
