"""Texts that a run goes on with at each of its evaluations (`evaluate.samples`): to be read, never judged.

They are greedy, so nothing is drawn and the run stays what it is. The weights are those that are evaluated, of all
processes together; the first process writes.
"""

from collections.abc import Callable

import lightning as L
import torch

from ablate.data.tokenizer import as_prompt, end_of, pieces
from ablate.data.tokens import Corpus
from ablate.fit import smaller
from ablate.fit.module import Pretraining
from ablate.fit.parallel import strategy
from ablate.model.language import VALUE, LanguageModel
from ablate.run.compress import NONE
from ablate.run.settings import Settings
from ablate.scores.sampling import generate


class Samples:
    """The prompts of a run, and the tokenizer of its text."""

    def __init__(self, settings: Settings, corpus: Corpus) -> None:
        self.settings, self.tokenizer = settings, corpus.tokenizer()
        self.prompts = [as_prompt(self.tokenizer, text) for text in settings.evaluate.samples]
        self.pieces = pieces(self.tokenizer, settings.data.vocabulary)

    def texts(self, trainer: L.Trainer, module: Pretraining, beat: Callable[[], None]) -> list[dict[str, str]]:
        """[{"prompt", "text"}], empty but in the first process; every process must call it."""
        with module.average.in_place_of_weights(module.model), trainer.precision_plugin.forward_context():
            weights = strategy.weights(trainer)
            if not trainer.is_global_zero:
                return []
            language = _of(module.model, weights).to(module.device)
            if self.settings.compress.to != NONE:
                smaller.prepare(language, self.settings)
            answers = generate(
                language,
                self.prompts,
                self.pieces,
                tokens=self.settings.evaluate.sample_tokens,
                end=end_of(self.tokenizer),
                tell=lambda *_: beat(),
            )
        texts = zip(self.settings.evaluate.samples, answers, strict=True)
        return [{"prompt": prompt, "text": answer.text} for prompt, answer in texts]


def _of(trained: LanguageModel, weights: dict[str, torch.Tensor]) -> LanguageModel:
    """The same model with these very tensors, whatever strategy has taken the trained one to pieces."""
    with torch.device("meta"):
        language = LanguageModel(trained.model, trained.size, len(weights["embedding.weight"]), VALUE in weights)
    language.load_state_dict(weights, assign=True)
    return language
