"""The tokenizer as metadata of a GGUF: a byte-level BPE, with the name that llama.cpp has for how it cuts text.

llama.cpp reads no pattern from a file: it has a list of them, by name. `CUTS` holds the ones of that list that open
tokenizers have, with the steps as `tokenizers` writes them. Whether both cut alike is not believed but tried, on a
thousand texts (`interchange.checked`).

A special token is one in no text: `<|end|>` in a document is seven characters, as in training. To llama.cpp's server
and its programs it is the token, wherever a prompt has it, unless they are told otherwise. Nothing is put before a
text or behind it. The token to begin with is the end token, since a document began behind one.
"""

import json
from typing import Any, NamedTuple

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Its name for the steps, and whether a word that is a token is never merged
CUTS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "smollm": ([DIGITS, GPT2], False),
    "gpt-2": ([GPT2], False),
    "llama-bpe": ([{"type": "Split", "pattern": WORDS % "{1,3}"}, BYTES], True),
    "qwen2": ([{"type": "Split", "pattern": WORDS % ""}, BYTES], False),
}
NOTHING: dict[str, Any] = {"dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
NOTHING |= {"byte_fallback": False}
NORMAL, CONTROL, GIVEN, UNUSED = 1, 3, 4, 5  # kinds of tokens, as llama.cpp numbers them


class Words(NamedTuple):
    """`cut`: a key of CUTS."""

    cut: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]


def words(text: str, vocabulary: int) -> Words:
    """Of a tokenizer.json, for a model with so many tokens. Raises ValueError for one without a form there."""
    parts = json.loads(text)
    model, added = parts["model"], {token["id"]: token for token in parts["added_tokens"]}
    names = {index: name for name, index in model["vocab"].items()} if model["type"] == "BPE" else {}
    cut = _cut(parts)
    tokens, kinds = [], []
    for index in range(vocabulary):
        if index in added:
            tokens.append(added[index]["content"])
            kinds.append(CONTROL if added[index]["special"] else GIVEN)
        else:
            tokens.append(names.get(index, f"[PAD{index}]"))
            kinds.append(NORMAL if index in names else UNUSED)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return Words(cut, tokens, kinds, merges)


def misfit(text: str) -> str:
    """Why llama.cpp has no form for a tokenizer.json; empty if it has one."""
    try:
        _cut(json.loads(text))
    except ValueError as error:
        return str(error)
    return ""


def _cut(parts: dict[str, Any]) -> str:
    model = parts["model"]
    if model["type"] != "BPE":
        raise ValueError(f"tokenizer: its model is {model['type']}, and only a byte-level BPE has a form here")
    if parts["normalizer"] is not None:
        raise ValueError(f"tokenizer: its normalizer {parts['normalizer']['type']} rewrites text, llama.cpp does not")
    for key, nothing in NOTHING.items():
        if model.get(key, nothing) not in (nothing, "") or (model.get(key) or nothing) != nothing:
            raise ValueError(f"tokenizer: {key}={model[key]} has no form in llama.cpp")
    steps = [_plain(step) for step in _steps(parts["pre_tokenizer"])]
    for name, (known, whole) in CUTS.items():
        if steps == known and whole == bool(model.get("ignore_merges")):
            return name
    raise ValueError(f"tokenizer: none of llama.cpp's ways to cut text is that of {json.dumps(steps)[:200]}")


def _steps(pre_tokenizer: dict[str, Any] | None) -> list[dict[str, Any]]:
    if pre_tokenizer is None:
        return []
    return pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]


def _plain(step: dict[str, Any]) -> dict[str, Any]:
    """A step without what makes no difference."""
    if step["type"] == "ByteLevel":
        return {"type": "ByteLevel", **{key: step.get(key, True) for key in ("add_prefix_space", "use_regex")}}
    if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return {"type": "Split", "pattern": step["pattern"].get("Regex")}
    return step
