"""How a batch becomes a loss: one class an objective, by the name in `objective`.

An objective gets the model, a `Batch`, the bytes that each token stands for and the number of domains, and
returns `Sums`: the total that is to fall with its gradient, and that total, what counted and bytes by domain and row.
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


# To `next_token` all tokens count, to any other objective those that the text marks (`data.windows.Stream`)
OBJECTIVES: dict[str, type[NextToken]] = {
    "next_token": NextToken,
    "answers": NextToken,  # supervised fine-tuning
}


def check(settings: Settings) -> None:
    """Raises SettingsError for an objective that there is not."""
    require_member("objective", settings.objective, OBJECTIVES)
