"""Content that no parser reads is recognized, named and refused."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import parse
from e2emern.tasks.parsers.foreign import not_utf8

GOUT = b"1|t|Gout\n1|a|Urate\n\n"
LATIN1 = "the file looks like Latin-1 (Windows-1252); convert it: iconv -f WINDOWS-1252 -t UTF-8"


def zipped(name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, GOUT)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped("[Content_Types].xml"), "an Office document or an e-book; expected PubMed XML"),
        (b"7z\xbc\xaf\x27\x1c\0\4" + GOUT, "a 7z archive; unpack it and give the files"),
        (b"Rar!\x1a\7\1\0" + GOUT, "a RAR archive; unpack it and give the files"),
        (b"070701" + b"0" * 104 + GOUT, "a cpio archive; unpack it and give the files"),
        (gzip.compress(bz2.compress(GOUT), mtime=0), "compressed twice; decompress it once"),
        (lzma.compress(b"\x28\xb5\x2f\xfd" + GOUT), "compressed twice; decompress it once"),
        (
            b"\x04\x22\x4d\x18" + GOUT,
            "compressed with lz4; decompress it, or recompress it with gzip, xz, bzip2 or zstd",
        ),
        (lzma.compress(GOUT, lzma.FORMAT_ALONE), "compressed with lzma; decompress it, or recompress"),
        (gzip.compress(gzip.compress(GOUT, mtime=0), mtime=0), "compressed twice; decompress it once"),
        (b"%PDF-1.7\n" + GOUT, "a PDF file; expected PubMed XML"),
        (b"{\\rtf1 1|t|Gout}", "an RTF document; expected PubMed XML"),
        (b"ARROW1\0\0" + GOUT, "an Arrow file; expected PubMed XML"),
        (b"<!DOCTYPE html>\n<html><body>1|t|Gout", "an HTML page, not the file itself; check the address"),
        (b"\xef\xbb\xbf\n<!-- x --><HTML lang='en'>", "an HTML page, not the file itself; check the address"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a Git LFS pointer, not the file itself; get the file: git lfs pull",
        ),
        (GOUT.decode().encode("utf-16"), "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8"),
        (GOUT.decode().encode("utf-16-le"), "UTF-16LE text; convert it: iconv -f UTF-16LE -t UTF-8"),
        (GOUT.decode().encode("utf-16-be"), "UTF-16BE text; convert it: iconv -f UTF-16BE -t UTF-8"),
        (GOUT.decode().encode("utf-32"), "UTF-32 text; convert it: iconv -f UTF-32 -t UTF-8"),
        ('{"documents": []}'.encode("utf-16"), "UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8"),
        ('{"a": 1}', "JSON without BioC documents; expected objects with 'passages'"),
        (
            b'{"documents": [{"id": "1", "passages": [{"offset": 0, "text": "Sj\xf6gren"}]}]}',
            r"not well-formed JSON \(.*UTF8.*\); convert it to UTF-8, or download it again$",
        ),
    ],
)
def test_content_that_no_parser_reads_is_named(write, content, message):
    with pytest.raises(SourceError, match=f"source: .*{message}"):
        list(parse(write(content)))


def test_xml_of_two_bytes_a_character_is_read(write):
    content = '<?xml version="1.0" encoding="utf-16"?><collection><document><id>1</id></document></collection>'
    assert [record.document_id for record in parse(write(content.encode("utf-16")))] == ["1"]


@pytest.mark.parametrize("document_id", ["PAR1", "GIF8", "07070", "LZIP", "BZh9", "PK"])
def test_ids_are_not_mistaken_for_magic_numbers(write, document_id):
    (document,) = parse(write(f"{document_id}|t|Gout\n{document_id}|a|Urate\n"))
    assert document.document_id == document_id


@pytest.mark.parametrize(
    ("line", "at", "message"),
    [
        (b"Sj\xf6gren", 2, f"byte 0xF6 is not UTF-8; {LATIN1}"),
        (b"\x93Gout\x94", 0, f"byte 0x93 is not UTF-8; {LATIN1}"),
        (b"Go\xc3\xbbt \xff", 6, "byte 0xFF is not UTF-8; download the file again, or convert it to UTF-8"),
        (b"Gout \x81", 5, "byte 0x81 is not UTF-8; download the file again, or convert it to UTF-8"),
        ("вирус".encode("koi8-r"), 0, "byte 0xD7 is not UTF-8; download the file again, or convert it to UTF-8"),
    ],
)
def test_an_encoding_is_guessed_from_a_line(line, at, message):
    assert not_utf8(line, at) == message
