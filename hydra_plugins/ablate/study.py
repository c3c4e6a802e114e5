"""Where Hydra looks for launchers and sweepers: it takes them from the namespace `hydra_plugins` only."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

from ablate.console.compose import combinations
from ablate.sweep.launcher import StudyLauncher as Base


class StudyLauncher(Base):
    """`hydra/launcher: study`: see `ablate.sweep.launcher`."""


NODE = {"_target_": "hydra_plugins.ablate.study.StudyLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="study", node=NODE, provider="ablate")


class StudySweeper(BasicSweeper):
    """`hydra/sweeper: study`: Hydra's own, without composing every combination before the launcher does."""

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        return [combinations(overrides)]

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        pass


SWEEPER = {"_target_": "hydra_plugins.ablate.study.StudySweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=SWEEPER, provider="ablate")
