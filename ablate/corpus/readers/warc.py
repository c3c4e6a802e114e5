"""Crawls: a response of HTML (.warc) or an extracted text (.wet) is a document, and its URL the source."""

from collections.abc import Iterator
from typing import IO, Any

from ablate.corpus.document import Document
from ablate.corpus.extra import needed
from ablate.corpus.readers.file import File, readable
from ablate.corpus.readers.rows import Columns
from ablate.corpus.readers.whole import decoded

HTML = ("text/html", "application/xhtml+xml")
OK = range(200, 300)  # statuses of HTTP: not of redirections and of pages that say what went wrong


def read_warc(file: File, columns: Columns) -> Iterator[Document]:
    """Other records (requests, images, dns, headers of the crawl) hold no document."""
    warc = needed("fastwarc.warc")
    file.unit = "record"
    with file.opened() as stream:
        # HTTP is parsed below: a record that is cut short shows in the length of its bytes alone
        records = warc.ArchiveIterator(_Told(stream), parse_http=False, stream_detect=False)
        for file.number, record in enumerate(records, start=1):
            content = _content(record)
            url = readable(record.headers.get("WARC-Target-URI") or f"{file.name}:{file.number}")
            if record.record_type == warc.WarcRecordType.conversion:
                yield Document(content.decode(), url, {"url": url})
            elif record.record_type == warc.WarcRecordType.response and record.is_http:
                record.set_bytes_content(content)
                record.parse_http(auto_decode="all")
                if record.http_content_type in HTML and record.http_headers.status_code in OK:
                    text = decoded(record.reader.read(), record.http_charset)
                    yield Document(text, url, {"format": "html", "url": url})


def _content(record: Any) -> bytes:
    if "Content-Length" not in record.headers:
        raise EOFError("the record is cut short")
    content = record.reader.read()
    if len(content) != record.content_length:
        raise EOFError(f"the record has {len(content)} of its {record.content_length} bytes")
    return content


class _Told:
    """A stream that says where it is, as fastwarc asks; decompressed ones cannot."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.at = stream, 0

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(size)
        self.at += len(content)
        return content

    def tell(self) -> int:
        return self.at
