"""What each phase of a chain changed."""

import dataclasses

from ablate.run import lineage
from ablate.run.settings import Data, Settings


def test_what_a_phase_changes_of_its_text_is_named():
    either = Settings(data=Data(target={"qa": "either"}))
    answer = dataclasses.replace(either, data=dataclasses.replace(either.data, target={"qa": "answer"}, pairs=True))
    found = lineage._of_text(either, answer)
    assert found == {"data.target": ({"qa": "either"}, {"qa": "answer"}), "data.pairs": (False, True)}
    assert not lineage._of_text(either, either)
