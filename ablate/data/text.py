"""Where text comes from: one seam, two sources.

    installed   real text that every installation of this package already has: no download
    folder      files of yours, one folder per domain

A source gives the documents of a domain, in an order of which every beginning is a fair sample (so
that `data.domain_bytes` can cut it short), and a signature: a cheap description of what would be
read. Text that may have changed has another signature, which is how the cache of tokens knows.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from ablate.data.documents import Document
from ablate.data.folder import Folder
from ablate.data.installed import Installed
from ablate.settings import Data


class Source(Protocol):
    def __init__(self, data: Data) -> None:
        """Raises UserError when a domain of `data` does not exist in this source."""
        ...

    def documents(self, domain: str) -> Iterator[Document]: ...

    def signature(self) -> dict[str, Any]:
        """Plain JSON data that differs whenever the documents may differ."""
        ...


SOURCES: dict[str, type[Source]] = {"installed": Installed, "folder": Folder}


def open_source(data: Data) -> Source:
    """The source that `data.source` names. Raises UserError when it lacks one of the domains."""
    return SOURCES[data.source](data)
