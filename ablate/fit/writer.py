"""A trained model that writes: what it wrote is kept, block by block, so that a killed command goes on.

What a model writes depends, by rounding, on what stands beside it in a batch. So blocks are always the same, and one of
which a reply is missing is written anew as a whole: the texts are those of a command that was never killed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ablate.corpus.endpoint import key_of
from ablate.corpus.replies import Replies, Reply
from ablate.data.tokenizer import Tokenizer, as_prompt, end_of, pieces
from ablate.fit.checkpoint import sha256
from ablate.model.language import LanguageModel
from ablate.run.settings import UserError
from ablate.scores.sampling import generate

BLOCK = 64  # texts


@dataclass(frozen=True)
class Writer:
    """`sampling`: tokens, temperature and seed, as `generate` takes them."""

    language: LanguageModel
    tokenizer: Tokenizer
    sampling: dict[str, int | float]
    replies: Path

    def write(
        self, prompts: Sequence[str], samples: int, budget: int = 0, tell: Callable[[int], None] = lambda done: None
    ) -> list[list[Reply]]:
        """The texts of each prompt, as many as the budget allows to be new (0: all); `tell` hears how many are there.

        Every prompt has all its samples, or none: those that the budget did not reach have none. Raises UserError for a
        budget that does not reach to the first block.
        """
        model, found, new = sha256(dict(self.language.state_dict())), list[list[Reply]](), 0
        size = max(1, BLOCK // samples)
        with Replies(self.replies) as replies:
            for first in range(0, len(prompts), size):
                block = [prompt for prompt in prompts[first : first + size] for _ in range(samples)]
                keys = self._keys(model, block)
                there = replies.find(keys)
                if any(key not in there for key in keys):
                    if budget and new + len(block) > budget:
                        if not new:
                            raise UserError(
                                f"--budget {budget}: must be {len(block)} or more, which are written at once"
                            )
                        return found
                    new += len(block)
                    there = dict(zip(keys, self._written(block), strict=True))
                    for key, reply in there.items():
                        replies.keep(key, model, reply)
                texts = [there[key] for key in keys]
                found += [texts[start : start + samples] for start in range(0, len(texts), samples)]
                tell(len(found) * samples)
        return found

    def _keys(self, model: str, block: Sequence[str]) -> list[bytes]:
        """All that decides a text; equal prompts are told apart by their number, and blocks by all that is in them."""
        whole = key_of({"model": model, "block": list(block), "sampling": self.sampling})
        return [key_of({"block": whole.hex(), "text": number}) for number in range(len(block))]

    def _written(self, block: Sequence[str]) -> list[Reply]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        answers = generate(
            self.language.to(device),
            [as_prompt(self.tokenizer, prompt) for prompt in block],
            pieces(self.tokenizer, len(self.language.head_weight)),
            tokens=int(self.sampling["tokens"]),
            temperature=self.sampling["temperature"],
            seed=int(self.sampling["seed"]),
            end=end_of(self.tokenizer),
        )
        return [
            Reply(one.text, "cut" if one.ended == "tokens" else "", reply_tokens=len(one.tokens)) for one in answers
        ]
