"""A step of datatrove's pipelines whose task is a number: what its executors need to work off parts of ours.

Apart, since a class that datatrove knows needs datatrove.
"""

from collections.abc import Callable
from typing import Any

from datatrove.pipeline.base import PipelineStep


class Parts(PipelineStep):
    """Does nothing but its task; documents never go through datatrove's pipeline."""

    type = "ablate"
    name = "parts"

    def __init__(self, task: Callable[[int], None]) -> None:
        super().__init__()
        self.task = task

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        with self.track_time():
            self.task(rank)
        return data
