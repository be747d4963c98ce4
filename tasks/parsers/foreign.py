"""Recognize content that no parser reads (binary files, servers' answers, XML), so that errors can say what to do.

Sources: the magic numbers of file(1), and the checksum of a tar header (POSIX.1-1988, ustar).
"""

from __future__ import annotations

import codecs
import re

_UNPACK = "unpack it and give the files"
_DECOMPRESS = "decompress it, or recompress it with gzip, xz, bzip2 or zstd"
_TWICE = "compressed twice; decompress it once"

_MAGIC = (
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (b"Rar!\x1a\x07", f"a RAR archive; {_UNPACK}"),
    (b"!<arch>\n", f"an ar archive; {_UNPACK}"),
    (b"MSCF\0\0\0\0", f"a cabinet archive; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", _TWICE),
    (b"\x04\x22\x4d\x18", f"compressed with lz4; {_DECOMPRESS}"),
    (b"\x1f\x9d", f"compressed with compress; {_DECOMPRESS}"),
    (b"LZIP\x01", f"compressed with lzip; {_DECOMPRESS}"),
    (b"\x5d\0\0", f"compressed with lzma; {_DECOMPRESS}"),
    (b"\xff\x06\0\0sNaPpY", f"compressed with snappy; {_DECOMPRESS}"),
    (b"\x1f\x8b\x08", _TWICE),
    (b"\xfd7zXZ\0", _TWICE),
    (b"%PDF-", "a PDF file"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    (b"PAR1\x15", "a Parquet file"),
    (b"ARROW1\0\0", "an Arrow file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer, not the file itself; get the file: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself; get the file: git annex get"),
)
BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_ZIP = re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")
_OFFICE = re.compile(rb"mimetypeapplication/(?:vnd\.oasis|epub)|\[Content_Types\]\.xml|_rels/\.rels")
_CPIO = re.compile(rb"07070[127][0-9A-Fa-f]{12}")
_HTML = re.compile(rb"(?is)(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)\b")
_BLOCK = 512  # bytes of a tar header
_CHECKSUM = slice(148, 156)  # in a tar header
_WIDE = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_JSON_ERROR = re.compile(rb'\{\s*"error"\s*:\s*"([^"]{0,80})')
_JSON_ANSWER = re.compile(rb'\{\s*"header"\s*:\s*\{\s*"type"\s*:\s*"e[a-z]+"')
_NO_ABSTRACTS = "an answer of E-utilities without abstracts; fetch the records with efetch"
_ROOTS = {
    "eFetchResult": "an error message of E-utilities; fetch the records again",
    "eSearchResult": _NO_ABSTRACTS,
    "eSummaryResult": _NO_ABSTRACTS,
    "html": "an HTML page; download the file itself",
    "article": "a full text in JATS XML, which is not read; get it as BioC",
    "pmc-articleset": "full texts in JATS XML, which are not read; get them as BioC",
}
_RIS = b"TY  - "
_SEEN = 64  # bytes from which an encoding without a mark is guessed


def container(start: bytes) -> str | None:
    """Return the form of a file that is not a stream of text, from its first bytes: `zip`, `tar` or `parquet`."""
    if _is_tar(start):
        return "tar"
    if start.startswith(b"PAR1\x15"):
        return "parquet"
    return "zip" if _ZIP.match(start) and not _OFFICE.search(start) else None


def foreign(start: bytes) -> str | None:
    """Describe unreadable content by its first bytes, and say what to do unless it is obvious; None if it may be read.

    The forms of `container` are foreign too, except at the start of a file. XML may be UTF-16 or UTF-32, since its
    parser reads them.
    """
    if found := next((what for magic, what in _MAGIC if start.startswith(magic)), None):
        return found
    if _is_tar(start):
        return f"a tar archive; {_UNPACK}"
    if _ZIP.match(start):
        return "an Office document or an e-book" if _OFFICE.search(start) else f"a zip archive; {_UNPACK}"
    if _CPIO.match(start):
        return f"a cpio archive; {_UNPACK}"
    if BZIP2.match(start):
        return _TWICE
    if _HTML.match(start.removeprefix(codecs.BOM_UTF8).lstrip()):
        return "an HTML page, not the file itself; check the address and download it again"
    if encoding := _wide_encoding(start):
        return f"{encoding} text; convert it: iconv -f {encoding} -t UTF-8"
    return None


def describe_start(start: bytes) -> str | None:
    """Describe a text that starts with these bytes, and say what to do; None if it may hold records."""
    if found := _JSON_ERROR.match(start):
        return f"an error message of a server ({found[1].decode('utf-8', 'replace')}); download it again"
    if _JSON_ANSWER.match(start):
        return _NO_ABSTRACTS
    if start.startswith(_RIS):
        return "RIS citations; save them from PubMed in its own format (.nbib)"
    return None


def describe_root(tag: str) -> str | None:
    """Describe an XML file with this root element, and say what to do; None if it is unknown."""
    return _ROOTS.get(tag)


def not_utf8(line: bytes, at: int) -> str:
    """Describe a byte that is not UTF-8, what it suggests and what to do; `at` is its 0-based position in the line."""
    what = f"byte 0x{line[at]:02X} is not UTF-8"
    try:
        line.decode("cp1252")
    except UnicodeDecodeError:
        looks_western = False
    else:
        runs = re.findall(rb"[\x80-\xff]+", line)
        # European words have one such byte, rarely two in a row; UTF-8, or an Asian encoding, has more
        looks_western = all(len(run) <= 2 and not _is_utf8(run) for run in runs)
    if looks_western:
        return f"{what}; the file looks like Latin-1 (Windows-1252); convert it: iconv -f WINDOWS-1252 -t UTF-8"
    return f"{what}; download the file again, or convert it to UTF-8"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_tar(start: bytes) -> bool:
    header = start[:_BLOCK]
    digits = header[_CHECKSUM].strip(b" \0")
    if len(header) < _BLOCK or not re.fullmatch(rb"[0-7]{1,7}", digits):
        return False
    return int(digits, 8) == sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")


def _wide_encoding(start: bytes) -> str | None:
    """Return the name of an encoding of two or four bytes a character; None for others, and for XML."""
    for mark, name in _WIDE:
        if start.startswith(mark):
            text = start.removeprefix(mark).lstrip(b"\0 \r\n\t\xfe\xff")
            return None if not text or text.startswith(b"<") else name  # none yet: a gzip member may be so short
    seen = start[:_SEEN]
    if len(seen) < 8 or seen.startswith(b"<"):
        return None
    nul = [at for at, byte in enumerate(seen) if byte == 0]
    odd = sum(at % 2 for at in nul)
    for byte_order, here, elsewhere in (("LE", odd, len(nul) - odd), ("BE", len(nul) - odd, odd)):
        if here > len(seen) // 4 and not elsewhere:
            return f"UTF-16{byte_order}"
    return None
