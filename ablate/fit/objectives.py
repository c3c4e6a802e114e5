"""How a batch becomes a loss: one class an objective, by the name in `objective`.

An objective gets the model, a `Batch`, the bytes that each token stands for and the number of domains, and
returns `Sums`: the total that is to fall with its gradient, and by domain and row nats, what counted and bytes.
It returns sums and never a mean: `fit.module` divides by what counts in the whole step, so a step is
the same whatever micro-batches and processes its rows are spread over.

Held-out text is scored by `NextToken` whatever a run was trained on: the tokens that count there, in nats.
"""

from typing import TYPE_CHECKING

from ablate.data.windows import IGNORED
from ablate.run.parts import require_member
from ablate.run.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to load: a wrong name is refused at once
    from torch import Tensor

    from ablate.data.batches import Batch
    from ablate.model.language import LanguageModel
    from ablate.scores.loss import Sums


class NextToken:
    """Cross-entropy of every target that counts, given the tokens before it."""

    falls = "nats"  # what `Sums.total` is of; where it is not nats, rows of the metrics have it beside them

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def counted(self, batch: "Batch") -> "Tensor":
        """What counts of each row, shape (B,): what `Sums.tokens_S` adds up."""
        return (batch.targets_BL != IGNORED).sum(1)

    def __call__(self, model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
        from ablate.scores.loss import loss_sums

        hidden_BLD = model(batch.tokens_BL)
        return loss_sums(
            hidden_BLD, model.head_weight, batch.targets_BL, batch.domain_B, bytes_per_token_V, num_domains
        )


class Distillation(NextToken):
    """What a teacher says of every target that counts (Hinton et al., arXiv 1503.02531), as `distill` asks for it.

    The teacher reads the rows as the student does, in the same types.
    """

    falls = "divergence"

    def __call__(self, model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
        import torch

        from ablate.fit import teachers
        from ablate.scores.divergence import divergence_sums

        teacher = teachers.loaded(self.settings, batch.tokens_BL.device)
        with torch.no_grad():
            taught_BLE = teacher(batch.tokens_BL)
        hidden_BLD = model(batch.tokens_BL)
        return divergence_sums(
            hidden_BLD,
            model.head_weight,
            taught_BLE,
            teacher.head_weight,
            batch.targets_BL,
            batch.domain_B,
            bytes_per_token_V,
            num_domains,
            self.settings.distill,
        )


# To `next_token` all tokens count, to any other objective those that the text marks (`data.windows.Stream`)
OBJECTIVES: dict[str, type[NextToken]] = {
    "next_token": NextToken,
    "answers": NextToken,  # supervised fine-tuning
    "distill": Distillation,
}


def check(settings: Settings) -> None:
    """Raises SettingsError for an objective that there is not."""
    require_member("objective", settings.objective, OBJECTIVES)
