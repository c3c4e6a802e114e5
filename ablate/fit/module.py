"""One training step, read as prose: rates from the timeline, gradients of all rows, clip, step.

Optimization is manual, so that accumulation, clipping and the norm of the loss have one place: a
step's loss is its total nats over its counted targets, whatever the devices and micro-batches that
its rows are spread over.

Shapes: B rows, L tokens of a row, D domains, W devices.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from ablate.data.batches import Batch
from ablate.data.windows import IGNORED
from ablate.fit import clipping
from ablate.fit import optimizer as optimizers
from ablate.fit.averaging import Average
from ablate.fit.custody import Custody
from ablate.fit.guard import Guard
from ablate.fit.monitor import Look, Monitor
from ablate.fit.objectives import OBJECTIVES, NextToken
from ablate.fit.parallel.fsdp import FSDP
from ablate.fit.parallel.zero import Zero
from ablate.model import match
from ablate.model.language import LanguageModel, build
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings
from ablate.scores.loss import Sums


class Diverged(Exception):
    """Training cannot go on: the loss or the gradient is not finite, or too low to be true."""


class Pretraining(L.LightningModule):
    """`sums_D3` collects nats, counted targets and bytes per domain of the training since the last `take_sums`, and
    `fallen` what the objective makes of them; `own_2` is the nats and counted targets of the last step alone."""

    def __init__(self, settings: Settings, timeline: Timeline, bytes_per_token: Tensor):
        super().__init__()
        self.automatic_optimization = False
        self.settings, self.timeline = settings, timeline
        self.objective, self.scored = OBJECTIVES[settings.objective](settings), NextToken(settings)
        self.model: LanguageModel = build(
            settings.model, match.sized(settings), settings.data.vocabulary, settings.seed, valued=self.objective.valued
        )
        self.register_buffer("bytes_per_token", bytes_per_token, persistent=False)
        self.register_buffer(
            "sums_D3", torch.zeros(len(settings.data.domains), 3, dtype=torch.float64), persistent=False
        )
        self.register_buffer("fallen", torch.zeros((), dtype=torch.float64), persistent=False)
        self.grad_norm = torch.tensor(0.0)
        self.own_2 = torch.zeros(2, dtype=torch.float64)
        self.learnt = True  # whether the last step was taken, or left out
        self.is_spike = False  # whether it was left out because it would have been one
        self.aside: tuple[Tensor, Tensor] | None = None  # the sums of the steps before, where each is looked at
        self.average = Average()
        self.clipping = clipping.build(settings.optimizer)
        self.monitor = Monitor(settings)
        # Says of a spike at some step whether the step is taken (`fit.spikes`); None: nobody looks
        self.on_spike: Callable[[int, Look], bool] | None = None
        self.custody, self.guard = Custody(), Guard()
        self.model.recompute, self.model.narrow = settings.where.recompute, settings.precision == "bf16"
        if settings.where.compile:
            self.model.compile_blocks(mode="reduce-overhead" if settings.where.graphs else None)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.look()
        checkpoint["average"] = self.average.mean
        checkpoint["clipping"] = self.clipping.kept
        checkpoint["monitor"] = self.monitor.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.average.mean = checkpoint["average"]
        self.clipping.kept = checkpoint["clipping"]
        self.monitor.load(checkpoint["monitor"])

    def on_train_start(self) -> None:
        self.average.to(self.device)
        self.clipping.to(self.device)

    def configure_model(self) -> None:
        """Called once the processes know of each other; a strategy that cuts the model in parts does it here."""
        if isinstance(self.trainer.strategy, FSDP):
            self.trainer.strategy.shard(self)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizers.build(self.model, self.settings.optimizer)

    def training_step(self, batch: Batch, step: int) -> None:
        now = self.trainer.global_step
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        row = self.timeline.table[now]
        optimizers.set_rates(optimizer.optimizer, row, self.timeline.layer_factors[now])
        self.learnt = bool(row["learns"])
        if self.learnt:
            self.take_step(batch, optimizer, float(row["average"]))
        else:
            self.leave_out(optimizer)

    def leave_out(self, optimizer: LightningOptimizer | Optimizer) -> None:
        """The step is over, and nothing has come of it. Lightning counts what an optimizer does, not a run's steps."""
        optimizer.zero_grad()
        self.custody.left_out()
        if isinstance(optimizer, LightningOptimizer):
            optimizer._on_before_step()
            optimizer._on_after_step()

    def take_step(self, batch: Batch, optimizer: LightningOptimizer | Optimizer, share: float) -> None:
        """Gradients of all rows, clip, step; the weights enter their running average with `share`.

        Where a monitor finds a spike, the step may be left out.
        """
        self.custody.opened()
        optimizer.zero_grad()
        self.aside = self.put_aside() if self.on_spike else None
        before_3 = self.sums_D3.sum(0)
        self.gradients(batch)
        self.own_2 = (self.sums_D3.sum(0) - before_3)[:2]
        norm, self.learnt = self.step(optimizer), not self.is_spike
        if self.learnt:
            self.grad_norm = norm
            self.average.update(self.model, share, self.guard.bad)
            self.custody.closed()
        else:
            self.leave_out(optimizer)

    def gradients(self, batch: Batch) -> list[Tensor]:
        """Of all rows, added up in the parameters; returns nats, targets and bytes by row, of each micro-batch."""
        # Devices average their gradients, hence the factor of world_size
        scale = (self.trainer.world_size / self.counted(batch).double()).float()
        # Only strategies that add up gradients during backward have the means to put it off
        unsynced = getattr(self.trainer.strategy, "block_backward_sync", nullcontext)
        rows, parts = [], self.micro_batches(batch)
        for number, micro in enumerate(parts, start=1):
            if self.settings.where.graphs:  # what the last micro-batch has left may be overwritten
                torch.compiler.cudagraph_mark_step_begin()
            with unsynced() if number < len(parts) else nullcontext():
                sums = self.losses(micro, self.sums_D3)
                self.manual_backward(sums.total * scale)
                rows.append(sums.rows_B3)
        return rows

    def put_aside(self) -> tuple[Tensor, Tensor]:
        """What was collected in earlier steps, so that the next one's is by itself."""
        before = self.sums_D3.clone(), self.fallen.clone()
        self.sums_D3.zero_()
        self.fallen.zero_()
        return before

    def counted(self, batch: Batch) -> Tensor:
        """What counts in a step, of all devices together, at least 1."""
        mine = self.objective.counted(batch).sum()
        return self.trainer.strategy.reduce(mine, reduce_op="sum").clamp(min=1)

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """The step's rows in parts of at most `where.micro_tokens` tokens, at least one row each."""
        return batch.parts(max(1, self.settings.where.micro_tokens // batch.tokens_BL.shape[1]))

    def forward(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """The `Sums` of a `Batch`. One call with the loss in it: whoever shards parameters gathers them around it."""
        by = self.objective if self.model.training else self.scored
        return by(self.model, Batch(*batch), self.bytes_per_token, len(self.settings.data.domains))

    def losses(self, batch: Batch, sums_D3: Tensor) -> Sums:
        """The `Sums` of a batch; adds its nats, counted targets and bytes per domain to `sums_D3`."""
        strategy = self.trainer.strategy
        forward = strategy.deepspeed_engine if isinstance(strategy, Zero) else self
        sums = Sums(*forward(*batch))
        with torch.no_grad():
            if self.model.training:
                self.fallen += sums.total
            sums_D3 += torch.stack([sums.nats_S, sums.tokens_S, sums.bytes_S], dim=1)
        return sums

    def step(self, optimizer: LightningOptimizer | Optimizer) -> Tensor:
        """Scale gradients down (`fit.clipping`) and step; returns their norm before. No step on NaN or infinity
        (`fit.guard`), and none where a monitor finds a spike: `is_spike` then."""
        strategy, step = self.trainer.strategy, self.trainer.global_step
        if isinstance(strategy, Zero):  # does all of that in its step
            optimizer.step()
            self.guard.see(norm := strategy.grad_norm(), step, None)
            self.look()
            return norm
        norm = self.clipping.clip(list(self.model.parameters()))
        self.is_spike = self.aside is not None and not self.is_healthy(norm, *self.aside)
        if not self.is_spike:
            if self.guard.see(norm, step, optimizer):
                self.look()
            self.clipping.accept()
            optimizer.step()
        return norm

    def look(self) -> None:
        """Raises Diverged if a step since the last look had no finite gradient; all processes find the same."""
        if why := self.guard.why():
            raise Diverged(why)

    def is_healthy(self, norm: Tensor, sums_D3: Tensor, fallen: Tensor) -> bool:
        """Whether a step is to be taken, by its own sums and the norm of its gradient; all processes find the same.

        What earlier steps have summed comes back, and with it what this one has, if it is taken.
        """
        assert self.on_spike
        step = self.trainer.global_step
        now = self.timeline.table[step]
        own_D2 = self.trainer.strategy.reduce(self.sums_D3[:, :2].clone(), reduce_op="sum")
        norm_and_sums = torch.cat([norm.double().reshape(1), own_D2.flatten()]).cpu().numpy()  # the one wait for it
        phase = float(now["stage"]), float(now["length"]), float(now["rows"])
        look = self.monitor.look(phase, norm_and_sums[1:].reshape(-1, 2), float(norm_and_sums[0]))
        if look.spike and not self.on_spike(step, look):
            self.sums_D3.copy_(sums_D3)
            self.fallen.copy_(fallen)
            return False
        self.monitor.take_in(look)
        self.sums_D3 += sums_D3
        self.fallen += fallen
        return True

    def take_sums(self) -> Tensor:
        """`sums_D3` since the last call, of all devices together; starts anew."""
        sums_D3 = self.trainer.strategy.reduce(self.sums_D3.clone(), reduce_op="sum")
        self.sums_D3.zero_()
        return sums_D3

    def take_fallen(self) -> float:
        """The sum of `Sums.total` in training since the last call, of all devices together; starts anew."""
        total = self.trainer.strategy.reduce(self.fallen.clone(), reduce_op="sum")
        self.fallen.zero_()
        return float(total)

    @torch.no_grad()
    def evaluate(self, rows: Batch, beat: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Nats, counted targets and bytes: per domain (D, 3) and of each row, in their order (B, 3).

        Of the average once there is one. Of pairs each response is a row, and its reward a fourth number where the
        model gives one. `beat` is called after every batch.
        """
        mine = share(rows, self.trainer.global_rank, self.trainer.world_size).to(self.device)
        sums_D3, found = torch.zeros_like(self.sums_D3), []
        self.model.eval()
        with self.trainer.precision_plugin.forward_context(), self.average.in_place_of_weights(self.model):
            for micro in self.micro_batches(mine):
                found.append(self.losses(micro, sums_D3).rows_B3)
                beat()
        self.model.train()
        if isinstance(self.trainer.strategy, FSDP):
            self.trainer.strategy.let_go()
        whole = torch.cat(found)
        of_rows = self.of_all(whole.view(len(mine.domain_B), -1))[: len(rows.domain_B)]
        return self.trainer.strategy.reduce(sums_D3, reduce_op="sum"), of_rows.reshape(-1, whole.shape[1])

    def of_all(self, rows_BN: Tensor) -> Tensor:
        """Rows of all devices in the order that `share` took them from, the padding last."""
        rows_WBN = self.all_gather(rows_BN)
        assert isinstance(rows_WBN, Tensor)
        return rows_WBN.view(-1, *rows_BN.shape).transpose(0, 1).flatten(0, 1)


def share(rows: Batch, rank: int, world: int) -> Batch:
    """Every `world`-th row. Pads with copies of row 0 of which no target counts, so that every process runs
    the same number of forward passes; FSDP would hang otherwise."""
    padding = rows.of_rows([0] * (-len(rows.domain_B) % world))
    padding = padding._replace(targets_BL=torch.full_like(padding.targets_BL, IGNORED))
    return Batch(*(torch.cat(both)[rank::world] for both in zip(rows, padding, strict=True)))
