"""The training steps of one run for Lightning. `data.batches`, which plans and predictions import, does without it."""

import lightning as L
from torch.utils.data import DataLoader

from ablate.data.batches import Beside, From, Steps
from ablate.data.tokens import Corpus
from ablate.plan.order import Order


class Batches(L.LightningDataModule):
    """From the step that the trainer has reached."""

    def __init__(self, order: Order, corpus: Corpus, workers: int, beside: Beside = ()):
        super().__init__()
        self.order, self.corpus, self.workers, self.beside = order, corpus, workers, beside

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        steps = Steps(self.order, self.corpus, trainer.global_rank, trainer.world_size, self.beside)
        sampler = From(trainer.global_step, len(steps))
        pinned = trainer.strategy.root_device.type == "cuda"
        return DataLoader(steps, batch_size=None, sampler=sampler, num_workers=self.workers, pin_memory=pinned)
