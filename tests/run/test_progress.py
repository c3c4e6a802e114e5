"""What is printed where there is no terminal."""

from ablate.run.progress import Progress


def test_ten_plain_lines_at_most_and_each_that_is_told(capsys):
    with Progress(40, shown=True, unit="step") as progress:
        for step in range(1, 41):
            progress.at(step, f"loss {step}")
        progress.tell("macro 2.9")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"step {step}/40  loss {step}" for step in range(4, 41, 4)] + ["macro 2.9"]


def test_every_part_that_begins_has_a_line(capsys):
    with Progress(30, shown=True, unit="part") as progress:
        for part in range(3):
            progress.begin(f"reading {part}")
    assert capsys.readouterr().out == "part 1/30  reading 0\npart 2/30  reading 1\npart 3/30  reading 2\n"


def test_nothing_where_nothing_is_wanted(capsys):
    with Progress(2, shown=False, unit="step") as progress:
        progress.at(1, "loss")
        progress.begin("reading")
        progress.tell("macro")
    assert capsys.readouterr().out == ""
