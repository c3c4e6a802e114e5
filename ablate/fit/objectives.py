"""How a batch becomes a loss: one function an objective, by the name in `objective`.

An objective gets the model, a `Batch`, the bytes that each token stands for and the number of domains, and
returns `Sums`: total nats with their gradient, and nats, counted targets and bytes by domain and row. It
returns sums and never a mean: `fit.module` divides by the counted targets of the whole step, so a step is
the same whatever micro-batches and processes its rows are spread over.
"""

from collections.abc import Callable

from torch import Tensor

from ablate.data.batches import Batch
from ablate.model.language import LanguageModel
from ablate.run.settings import Settings, SettingsError
from ablate.scores.loss import Sums, loss_sums

Objective = Callable[[LanguageModel, Batch, Tensor, int], Sums]


def next_token(model: LanguageModel, batch: Batch, bytes_per_token_V: Tensor, num_domains: int) -> Sums:
    """Cross-entropy of every target that counts, given the tokens before it."""
    hidden_BLD = model(batch.tokens_BL)
    return loss_sums(hidden_BLD, model.head_weight, batch.targets_BL, batch.domain_B, bytes_per_token_V, num_domains)


OBJECTIVES: dict[str, Objective] = {"next_token": next_token}


def check(settings: Settings) -> None:
    """Refuses an objective that does not exist."""
    if settings.objective not in OBJECTIVES:
        raise SettingsError(f"objective={settings.objective}: must be one of " + ", ".join(OBJECTIVES))
