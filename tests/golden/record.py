"""Write tests/golden/tiny.json anew, after identity.SEMANTICS was raised: python tests/golden/record.py"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tiny import TINY, merged  # noqa: E402

from ablate.run.identity import SEMANTICS  # noqa: E402
from ablate.run.parse import from_config  # noqa: E402
from ablate.sweep.worker import alone, train  # noqa: E402

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as outputs:
        settings = from_config(merged(TINY, {"data": {"domains": ["qa"]}, "where": {"outputs": outputs}}))
        task = alone(settings)
        result, record = train(task), task.record
        rows = record.rows("train")
        golden = {"semantics": SEMANTICS, "id": record.id, "sums": result["sums"], "flops": result["flops"]}
        golden |= {name: [row[name] for row in rows] for name in ("lr", "nats")}
        (HERE / "tiny.json").write_text(json.dumps(golden, indent=1) + "\n")
