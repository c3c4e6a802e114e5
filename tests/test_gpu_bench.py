"""`bench gpu`: a part that fails or hangs ends alone, what it found stays, and all boxes together are eight minutes."""

import json
import sys

import pytest

from bench import gpu

SAYS = "import json, sys, time; print(json.dumps({'part': 'p', 'n': 1}), flush=True); "


@pytest.mark.parametrize(
    ("more", "seconds", "ended"),
    [
        ("print('noise')", 60, "well"),
        ("raise RuntimeError('no kernel')", 60, "failed: RuntimeError: no kernel"),
        ("time.sleep(600)", 6, "not within 6 s"),
    ],
)
def test_what_a_part_found_stays_however_it_ends(tmp_path, capsys, more, seconds, ended):
    lines = tmp_path / "gpu.jsonl"
    assert gpu.run_part([sys.executable, "-c", SAYS + more], seconds, lines) == ended
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [{"part": "p", "n": 1}]
    assert capsys.readouterr().out == lines.read_text()


@pytest.mark.slow
def test_all_parts_fit_into_eight_minutes():
    assert sum(seconds for seconds, _, _ in gpu.parts().values()) <= 480


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ceilings", "attention", "davinci", "start", "mamba"])
def test_a_part_runs_dry(capsys, name):
    gpu.parts()[name][1](True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["part"] for line in found} == {name}
    assert len(found) > 1
