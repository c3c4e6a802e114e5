"""The list of `bench.mutants` is in step with the code; the mutants themselves are run by `python -m bench mutants`."""

import pytest

from bench.mutants import MUTANTS, ROOT, plant


def test_there_are_sixty_and_no_two_of_one_name():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 60


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_text_stands_in_its_file_once_and_its_tests_are_there(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


def test_a_mutant_whose_text_is_gone_is_an_error(tmp_path):
    mutant = MUTANTS[0]
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    (tmp_path / mutant.file).write_text(mutant.old * 2)
    with pytest.raises(ValueError, match="once, and does 2 times"):
        plant(mutant, tmp_path)
