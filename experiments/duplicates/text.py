"""Raw text for `duplicates`: documents that come with this installation, most of which are there several times.

python experiments/duplicates/text.py outputs/duplicates_text

outputs/duplicates_text/science/rows.jsonl      a quarter of the bytes is unique: three documents in five are there
                                                once, two in five COPIES times, each time from another source
"""

import json
import sys
from pathlib import Path

from ablate.data.documents import capped, cleaned
from ablate.data.installed import Installed
from ablate.run.settings import Data

UNIQUE_BYTES = 1_000_000
COPIES = 8  # 3 x 1 + 2 x 8 = 19 for every 5: a share of .26 is unique


def main(out: Path) -> None:
    data = Data(domains=["science"], focus="science")
    rows = []
    for number, document in enumerate(capped(cleaned(Installed(data).documents("science")), UNIQUE_BYTES)):
        for copy in range(COPIES if number % 5 < 2 else 1):
            rows.append({"text": document.text, "source": f"{document.source}/{copy}" if copy else document.source})
    (out / "science").mkdir(parents=True, exist_ok=True)
    (out / "science" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
