"""Where Hydra looks for launchers: it takes them from the namespace `hydra_plugins` only."""

from hydra.core.config_store import ConfigStore

from ablate.sweep.launcher import StudyLauncher as Base


class StudyLauncher(Base):
    """`hydra/launcher: study`: see `ablate.sweep.launcher`."""


NODE = {"_target_": "hydra_plugins.ablate.study.StudyLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="study", node=NODE, provider="ablate")
