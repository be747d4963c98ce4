import bz2
import gzip
import lzma
from functools import partial

import pyarrow as pa
import pytest

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers.source_reader import open_source

ZSTD, ZSTD_AGAIN = (pa.compress(half, "zstd", asbytes=True) for half in (b"te", b"xt"))


def read(path, **limits):
    with open_source(path, **limits) as source:
        return b"".join(source.chunks())


@pytest.mark.parametrize(
    "content",
    [
        b"text",
        gzip.compress(b"text"),
        gzip.compress(b"te") + gzip.compress(b"xt"),
        gzip.compress(b"text") + b"\0" * 9,
        lzma.compress(b"text"),
        bz2.compress(b"te") + bz2.compress(b"xt"),
        ZSTD + ZSTD_AGAIN,
    ],
    ids=["plain", "gzip", "two members", "padded", "xz", "bzip2", "zstd"],
)
def test_compression_is_detected_from_the_first_bytes(write, content):
    assert read(write(content)) == b"text"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "source: the file is empty"),
        (gzip.compress(b""), "source: the file is empty"),
        (
            gzip.compress(b"text")[:-3],
            r"source: gzip damaged after 4 decompressed bytes \(.*\); download the file again$",
        ),
        (gzip.compress(b"text")[:-8] + b"12345678", "source: gzip damaged after 4 decompressed bytes"),
        (gzip.compress(b"text") + b"rest", "source: gzip damaged after 4 decompressed bytes"),
        (
            lzma.compress(b"text")[:-3],
            r"source: xz damaged after 4 decompressed bytes \(.*\); download the file again$",
        ),
        (bz2.compress(b"text")[:-3], "source: bzip2 damaged after 4 decompressed bytes"),
        (ZSTD[:-3], r"source: zstd damaged after 0 decompressed bytes \(.*\); download the file again$"),
        (ZSTD + b"rest", "source: zstd damaged after 0 decompressed bytes"),
        (b"\xfd7zXZ\0text", "source: xz damaged after 0 decompressed bytes"),
        (b"\x1f\x8b", "source: gzip damaged after 0 decompressed bytes"),
        (gzip.compress(b"text")[:10] + b"\xff\xff\xff\xff", "source: gzip damaged after 0 decompressed bytes"),
    ],
    ids=[
        "empty",
        "empty gzip",
        "truncated",
        "checksum",
        "trailing",
        "xz",
        "bzip2",
        "zstd",
        "more",
        "no xz",
        "magic alone",
        "no deflate",
    ],
)
def test_a_source_that_cannot_be_read(write, content, message):
    with pytest.raises(SourceError, match=message):
        read(write(content))


def test_bytes_before_damage_are_returned_first(write):
    with open_source(write(gzip.compress(b"text")[:-3])) as source:
        assert source.read() == b"text"
        with pytest.raises(SourceError):
            source.read()


@pytest.mark.parametrize(
    "pack", [gzip.compress, lzma.compress, bz2.compress, partial(pa.compress, codec="zstd", asbytes=True)]
)
def test_a_bomb_is_refused(write, pack):
    path = write(pack(b"0" * 3_000_000))
    assert len(read(path)) == 3_000_000
    assert len(read(path, ratio_free=1_000_000, max_ratio=200_000)) == 3_000_000
    with pytest.raises(SourceError, match="over 200 times as many; refused as a decompression bomb"):
        read(path, ratio_free=1_000_000)


@pytest.mark.parametrize("name", ["absent", ".", "a\0b"])
def test_a_file_that_cannot_be_opened(tmp_path, name):
    with pytest.raises(SourceError, match=r"cannot be opened"):
        read(tmp_path / name)
