"""pyarrow, for all of this room: with the allocator of the system, since its own keeps what it has freed, tens of MB in
every process that has read or written a part."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # which it looks at once, while it is imported

import pyarrow
import pyarrow.parquet

__all__ = ["pyarrow"]
