"""How a batch becomes a loss: one function an objective, by the name in `objective`.

An objective gets the model, a `Batch`, the bytes that each token stands for and the number of domains, and
returns `Sums`: total nats with their gradient, and nats, counted targets and bytes by domain and row. It
returns sums and never a mean: `fit.module` divides by the counted targets of the whole step, so a step is
the same whatever micro-batches and processes its rows are spread over.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ablate.run.parts import require_member
from ablate.run.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to load: a wrong name is refused at once
    from torch import Tensor

    from ablate.data.batches import Batch
    from ablate.model.language import LanguageModel
    from ablate.scores.loss import Sums


def next_token(model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
    """Cross-entropy of every target that counts, given the tokens before it."""
    from ablate.scores.loss import loss_sums

    hidden_BLD = model(batch.tokens_BL)
    return loss_sums(hidden_BLD, model.head_weight, batch.targets_BL, batch.domain_B, bytes_per_token_V, num_domains)


# To `next_token` all tokens count, to any other objective those that the text marks (`data.windows.Stream`)
OBJECTIVES: dict[str, Callable[["LanguageModel", "Batch", "Tensor", int], "Sums"]] = {
    "next_token": next_token,
    "answers": next_token,  # supervised fine-tuning
}


def check(settings: Settings) -> None:
    """Raises SettingsError for an objective that there is not."""
    require_member("objective", settings.objective, OBJECTIVES)
