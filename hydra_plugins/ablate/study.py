"""Where Hydra looks for launchers and sweepers: it takes them from the namespace `hydra_plugins` only."""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn

from ablate.console.compose import combinations
from ablate.sweep.launcher import StudyLauncher as Base


class StudyLauncher(Base):
    """`hydra/launcher: study`: see `ablate.sweep.launcher`."""


NODE = {"_target_": "hydra_plugins.ablate.study.StudyLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="study", node=NODE, provider="ablate")


class StudySweeper(BasicSweeper):
    """`hydra/sweeper: study`: gives the launcher all combinations at once, and writes nothing before."""

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = combinations(parser.parse_overrides([*self._parse_config(), *arguments]))
        results = self.launcher.launch(jobs, initial_job_idx=0)
        for one in results:
            _ = one.return_value  # raises what the job has raised
        return [results]


SWEEPER = {"_target_": "hydra_plugins.ablate.study.StudySweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=SWEEPER, provider="ablate")
