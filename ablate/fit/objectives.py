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
from ablate.run.preference import Preference
from ablate.run.settings import Settings, SettingsError
from ablate.run.start import NONE

if TYPE_CHECKING:  # torch takes seconds to load: a wrong name is refused at once
    from torch import Tensor

    from ablate.data.batches import Batch
    from ablate.model.language import LanguageModel
    from ablate.scores.loss import Sums


class NextToken:
    """Cross-entropy of every target that counts, given the tokens before it.

    Of pairs each response is a text and a row of its own; its reward is a fourth number, where the model gives one.
    """

    paired = False  # whether its rows are pairs (`data.pairs`), and what counts of each is 1
    valued = False  # whether its model has a head that says what a response is worth
    falls = "nats"  # what `Sums.total` is of; where it is not nats, rows of the metrics have it beside them
    unit = "nats/token"  # of what is shown while it trains

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def counted(self, batch: "Batch") -> "Tensor":
        """What counts of each row, shape (B,): what `Sums.tokens_S` adds up."""
        return (batch.targets_BL != IGNORED).sum(1)

    def __call__(self, model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
        from ablate.scores.loss import loss_sums

        rows = batch.halves() if self.settings.data.pairs else batch
        hidden_BLD = model(rows.tokens_BL)
        fused = self.settings.where.compile and model.training
        told = (rows.targets_BL, rows.domain_B, bytes_per_token_V, num_domains)
        sums = loss_sums(hidden_BLD, model.head_weight, *told, fused=fused)
        return sums if model.value is None else _with_worth(sums, model, hidden_BLD, rows.targets_BL)


def _with_worth(sums: "Sums", model: "LanguageModel", hidden_BLD: "Tensor", targets_BL: "Tensor") -> "Sums":
    from ablate.scores import pairs

    rows_B4 = sums.rows_B3.new_zeros(len(sums.rows_B3), 4)
    rows_B4[:, :3], rows_B4[:, 3] = sums.rows_B3, pairs.worth(model, hidden_BLD, targets_BL)
    return sums._replace(rows_B3=rows_B4)


class Preferred(NextToken):
    """Of two responses the better one should lead, by more than it did at the start (`scores.pairs`)."""

    paired = True
    unit = "per pair"

    def counted(self, batch: "Batch") -> "Tensor":
        return batch.domain_B.new_ones(len(batch.domain_B))

    def __call__(self, model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
        from ablate.scores import pairs

        by = self.settings.preference
        halves = batch.halves()
        found = pairs.likelihoods(model, halves.tokens_BL, halves.targets_BL, halves.beside_BK)
        return pairs.sums(pairs.LOSSES[by.kind](found, by), batch.domain_B, num_domains)


class Rewarded(Preferred):
    """Of two responses the better one should be worth more, by a head of the model's."""

    valued = True

    def __call__(self, model: "LanguageModel", batch: "Batch", bytes_per_token_V: "Tensor", num_domains: int) -> "Sums":
        from ablate.scores import pairs

        halves = batch.halves()
        values_B = pairs.values(model, halves.tokens_BL, halves.targets_BL)
        return pairs.sums(pairs.rewarded(values_B), batch.domain_B, num_domains)


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
    "preference": Preferred,
    "reward": Rewarded,
}


def check(settings: Settings) -> None:
    """Raises SettingsError for an objective that there is not, and for settings that it cannot have."""
    name, pairs, by = settings.objective, settings.data.pairs, settings.preference
    require_member("objective", name, OBJECTIVES)
    if OBJECTIVES[name].paired != pairs:
        fit = " or ".join(other for other, one in OBJECTIVES.items() if one.paired == pairs)
        raise SettingsError(f"objective={name}: must be {fit} with data.pairs={str(pairs).lower()}")
    if name == "preference" and settings.start == NONE:
        raise SettingsError(
            f"start={NONE}: must be a run or a folder with objective=preference, which compares with it"
        )
    if name != "preference" and by != Preference():
        raise SettingsError(f"preference.kind={by.kind}: must be as it is by default with objective={name}")
    if by.kind == "ipo" and by.beta == 0:
        raise SettingsError("preference.beta=0: must be above 0 with preference.kind=ipo, which divides by it")
    if by.kind == "chosen" and by.beta != Preference().beta:
        raise SettingsError(f"preference.beta={by.beta}: must be left out with preference.kind=chosen, which has none")
    if by.kind != "simpo" and by.gamma != Preference().gamma:
        raise SettingsError(f"preference.gamma={by.gamma}: must be left out with preference.kind={by.kind}")
    strategy = settings.where.strategy
    if name == "reward" and not settings.model.tied and strategy != "single":
        raise SettingsError(f"where.strategy={strategy}: must be single with objective=reward and model.tied=false")
