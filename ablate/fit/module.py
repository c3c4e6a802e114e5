"""One training step, read as prose: rates from the timeline, gradients of all rows, clip, step.

Optimization is manual, so that accumulation, clipping and the norm of the loss have one place: a
step's loss is its total nats over its total tokens, whatever the devices and micro-batches that
its rows are spread over.

Shapes: R rows, T = L + 1 tokens, D domains.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.distributed.tensor import DTensor

from ablate.data.batches import Batch
from ablate.fit import optimizer as optimizers
from ablate.fit.averaging import Average
from ablate.fit.fsdp import FSDP
from ablate.fit.zero import Zero
from ablate.model import match
from ablate.model.language import LanguageModel, build
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings
from ablate.scores.loss import Sums, loss_sums


class Diverged(Exception):
    """Training cannot go on: the loss or the gradient is not finite, or too low to be true."""


class Pretraining(L.LightningModule):
    """`sums_D3` collects nats, tokens and bytes per domain since the last `take_sums`."""

    def __init__(self, settings: Settings, timeline: Timeline, bytes_per_token: Tensor, validation: Batch):
        super().__init__()
        self.automatic_optimization = False
        self.settings, self.timeline, self.validation = settings, timeline, validation
        self.model: LanguageModel = build(
            settings.model, match.sized(settings), settings.data.vocabulary, settings.seed
        )
        self.register_buffer("bytes_per_token", bytes_per_token, persistent=False)
        self.register_buffer(
            "sums_D3", torch.zeros(len(settings.data.domains), 3, dtype=torch.float64), persistent=False
        )
        self.grad_norm = torch.tensor(0.0)
        self.average = Average()
        self.model.recompute = settings.where.recompute
        if settings.where.compile:
            self.model.compile()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["average"] = self.average.mean

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.average.mean = checkpoint["average"]

    def on_train_start(self) -> None:
        self.average.to(self.device)

    def configure_model(self) -> None:
        """Called once the processes know of each other; a strategy that cuts the model in parts does it here."""
        if isinstance(self.trainer.strategy, FSDP):
            self.trainer.strategy.shard(self)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizers.build(self.model, self.settings.optimizer)

    def training_step(self, batch: Batch, step: int) -> None:
        row = self.timeline.table[self.trainer.global_step]
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizers.set_rates(optimizer.optimizer, row, self.timeline.layer_factors[self.trainer.global_step])
        optimizer.zero_grad()
        # Devices average their gradients, hence the factor of world_size
        scale = self.trainer.world_size / float(row["rows"] * row["length"])
        # Only strategies that add up gradients during backward have the means to put it off
        unsynced = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        *earlier, last = self.micro_batches(batch)
        for micro in earlier:
            with unsynced():
                self.manual_backward(self.losses(micro).total * scale)
        self.manual_backward(self.losses(last).total * scale)
        self.grad_norm = self.step(optimizer)
        self.average.update(self.model, float(row["average"]))

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The step's rows in parts of at most `where.micro_tokens` tokens, at least one row each."""
        length = batch["tokens"].shape[1] - 1
        rows = max(1, self.settings.where.micro_tokens // length)
        parts = zip(batch["tokens"].split(rows), batch["domain"].split(rows), strict=True)
        return [{"tokens": tokens, "domain": domain} for tokens, domain in parts]

    def forward(self, tokens_RT: Tensor, domain_R: Tensor) -> tuple[Tensor, ...]:
        """The `Sums` of some rows. One call with the loss in it: whoever shards parameters gathers them around it."""
        hidden = self.model(tokens_RT[:, :-1])
        num_domains = len(self.settings.data.domains)
        targets = tokens_RT[:, 1:]
        return loss_sums(hidden, self.model.head_weight, targets, domain_R, self.bytes_per_token, num_domains)

    def losses(self, batch: Batch) -> Sums:
        """Summed nats of a batch; adds nats, tokens and bytes per domain to `sums_D3`."""
        strategy = self.trainer.strategy
        forward = strategy.deepspeed_engine if isinstance(strategy, Zero) else self
        sums = Sums(*forward(batch["tokens"], batch["domain"]))
        with torch.no_grad():
            self.sums_D3 += torch.stack([sums.nats_S, sums.tokens_S, sums.bytes_S], dim=1)
        return sums

    def step(self, optimizer: LightningOptimizer) -> Tensor:
        """Scale gradients down to `optimizer.clip` and step; returns their norm before. No step on NaN or infinity."""
        strategy, step = self.trainer.strategy, self.trainer.global_step
        if isinstance(strategy, Zero):  # does all of that in its step
            optimizer.step()
            return finite(strategy.grad_norm(), step)
        largest = self.settings.optimizer.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        norm = finite(norm.full_tensor() if isinstance(norm, DTensor) else norm, step)
        optimizer.step()
        return norm

    def take_sums(self) -> Tensor:
        """Nats, tokens and bytes per domain since the last call, of all devices together, shape (D, 3); starts anew."""
        sums_D3 = self.trainer.strategy.reduce(self.sums_D3.clone(), reduce_op="sum")
        self.sums_D3.zero_()
        return sums_D3

    @torch.no_grad()
    def evaluate(self, beat: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Nats, tokens and bytes on the validation rows: per domain (D, 3) and of each row, in their order (R, 3).

        Of the average once there is one. `beat` is called after every batch.
        """
        kept = self.sums_D3.clone()
        self.sums_D3.zero_()
        mine = share(self.validation, self.trainer.global_rank, self.trainer.world_size)
        mine = {name: value.to(self.device) for name, value in mine.items()}
        self.model.eval()
        rows = []
        with self.trainer.precision_plugin.forward_context(), self.average.in_place_of_weights(self.model):
            for micro in self.micro_batches(mine):
                rows.append(self.losses(micro).rows_B3)
                beat()
        self.model.train()
        sums_D3 = self.take_sums()
        self.sums_D3.copy_(kept)
        return sums_D3, self.of_all(torch.cat(rows))[: len(self.validation["domain"])]

    def of_all(self, rows_R3: Tensor) -> Tensor:
        """Rows of all devices in the order that `share` took them from, the filling ones last."""
        rows_WR3 = self.all_gather(rows_R3)
        assert isinstance(rows_WR3, Tensor)
        return rows_WR3.view(-1, *rows_R3.shape).transpose(0, 1).flatten(0, 1)


def finite(norm: Tensor, step: int) -> Tensor:
    """The norm; all processes have the same, so all of them stop."""
    if not torch.isfinite(norm):
        raise Diverged(f"the gradient norm is {norm.item()} at step {step}")
    return norm


def share(rows: Batch, rank: int, world: int) -> Batch:
    """Every `world`-th row. All shares are of one size, as processes that gather parameters together need
    equally many forward passes: what is missing is the first row again, of a domain that does not exist."""
    missing = -len(rows["domain"]) % world
    tokens_RT = torch.cat([rows["tokens"], rows["tokens"][:1].expand(missing, -1)])
    domain_R = torch.cat([rows["domain"], rows["domain"].new_full([missing], -1)])
    return {"tokens": tokens_RT[rank::world], "domain": domain_R[rank::world]}
