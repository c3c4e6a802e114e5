"""Where text comes from: one seam, four sources.

    installed   real text that every installation of this package already has: no download
    folder      files of yours, one folder per domain
    hub         datasets of the Hugging Face hub, or of a folder of yours, read as they stream in
    shards      files of tokens, one folder per domain, read from where they lie (`data.pretokenized`)

A source gives the documents of what it has under a name, in an order of which every beginning is a
fair sample (so that `data.domain_bytes` can cut it short), and a signature: a cheap description of
what would be read. Text that may have changed has another signature, which is how the cache of
tokens knows.

A domain reads what `data.sources` names, or else its own name. Domains of one name share its
documents out between them, whole sources at a time, so that no text is in two domains:

    {italian: science, english: science}        numpy:a.py  numpy:b.py  scipy:c.py ...
                                                english     italian     english
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ablate.corpus.document import Document, order_key
from ablate.data.folder import Folder
from ablate.data.hub import Hub
from ablate.data.installed import Installed
from ablate.data.pretokenized import Shards
from ablate.run.parts import require_member
from ablate.run.settings import Data, SettingsError


class Source(Protocol):
    def __init__(self, data: Data) -> None:
        """Raises UserError when a domain of `data` does not exist in this source."""
        ...

    def documents(self, name: str) -> Iterator[Document]: ...

    def signature(self) -> dict[str, Any]:
        """Plain JSON data that differs whenever the documents may differ."""
        ...


SOURCES: dict[str, type[Source]] = {"installed": Installed, "folder": Folder, "hub": Hub, "shards": Shards}


def check(data: Data) -> None:
    """Raises SettingsError for a source that there is not, and for a template or pairs that this one does not have."""
    require_member("data.source", data.source, SOURCES)
    if data.template and data.source not in (known := ("folder", "hub")):
        raise SettingsError(f"data.template={data.template}: must be empty unless data.source={' or '.join(known)}")
    if data.pairs and data.source == "shards":
        raise SettingsError("data.source=shards: must be another with data.pairs=true: files of tokens have no pairs")


def open_source(data: Data) -> Source:
    """The source that `data.source` names. Raises UserError when it lacks one of the domains."""
    return SOURCES[data.source](data)


def share_of(data: Data, domain: str) -> Callable[[Document], bool]:
    """Which clean documents of its name in the source are the domain's: all, or its share of them.

    Asked once repetitions are dropped: of two equal texts one is left, in one of the domains.
    """
    name = data.names[domain]
    sharing = sorted(other for other in data.domains if data.names[other] == name)
    return lambda document: sharing[_share(document.source, len(sharing))] == domain


def _share(source: str, shares: int) -> int:
    """Which share a source belongs to. Not the hash that orders sources, so that shares stay fair samples."""
    return int.from_bytes(order_key(f"share {source}")) % shares
