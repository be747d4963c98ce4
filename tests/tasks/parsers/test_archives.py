"""Archives: one source, whose members are read like files of their own, within limits."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2emern.model.document import Document
from e2emern.tasks.errors import SourceError
from e2emern.tasks.parsers import Failure, archives, parse
from e2emern.tasks.parsers.archives import MemberError, members

GOUT = b"1|t|Gout\n1|a|Urate\n\n"


def tar(files: Mapping[str, bytes], *, form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def v7_tar() -> bytes:
    """The oldest format has no magic number, only its checksum."""
    whole = tar({"1.txt": GOUT})
    header = bytearray(whole[:512])
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + whole[512:]


def read(path: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for record in parse(path):
        assert record.record == len(found)
        if isinstance(record, Document):
            found.append((record.document_id, record.text))
        elif isinstance(record, Failure):
            found.append((record.position, record.reason))
    return found


Write = Callable[[str | bytes], Path]
ONE = {"1.txt": GOUT}


@pytest.mark.parametrize(
    "content",
    [
        tar(ONE),
        tar(ONE, form=tarfile.GNU_FORMAT),
        tar(ONE, form=tarfile.PAX_FORMAT),
        v7_tar(),
        gzip.compress(tar(ONE), mtime=0),
        lzma.compress(tar(ONE)),
        bz2.compress(tar(ONE)),
        pa.compress(tar(ONE), "zstd", asbytes=True),
        b"".join(gzip.compress(tar(ONE)[at : at + 7]) for at in range(0, 10240, 7)),
        zipped(ONE),
        zipped(ONE, zipfile.ZIP_STORED),
        zipped(ONE, zipfile.ZIP_BZIP2),
        zipped(ONE, zipfile.ZIP_LZMA),
    ],
)
def test_an_archive_is_known_by_its_content(write: Write, content: bytes) -> None:
    assert read(write(content)) == [("1", "Gout Urate")]


def test_members_of_every_format_are_read_and_no_name_is_used_as_path(write: Write, tmp_path: Path) -> None:
    table = io.BytesIO()
    pq.write_table(pa.table({"id": [7], "text": ["Rash."]}), table)
    files = {
        "../../evil.txt": b"Gout.",
        "/etc/passwd.md": b"# Asthma\n\nText.",
        "d/x.pubtator": GOUT * 2,
        "d/n.csv.gz": gzip.compress(b"id,text\n5,Urate\n,x\n"),
        "t.parquet": table.getvalue(),
        "z.txt.zst": pa.compress(GOUT, "zstd", asbytes=True),
        "b.xml.bz2": bz2.compress(b"<PubmedArticleSet></PubmedArticleSet>"),
        ".hidden": b"x",
        "__MACOSX/._x.txt": b"x",
        "x.md5": b"x",
        "p.pdf": b"%PDF-1.7",
        "n.zip": zipped(ONE),
        "n.tgz": gzip.compress(tar(ONE)),
        "cut.txt.gz": gzip.compress(GOUT)[:-9],
        "latin.txt": b"Sj\xf6gren",
    }
    latin = "the file looks like Latin-1 (Windows-1252); convert it: iconv -f WINDOWS-1252 -t UTF-8"
    expected = [
        ("source/../../evil.txt", "Gout."),
        ("source//etc/passwd.md", "  Asthma  Text."),
        ("1", "Gout Urate"),
        ("1", "Gout Urate"),
        ("5", "Urate"),
        ("d/n.csv.gz, line 3", "no id in column 'id'"),
        ("7", "Rash."),
        ("1", "Gout Urate"),
        ("p.pdf", "a PDF file; expected PubMed XML"),
        ("n.zip", "a zip file within another; unpack it and give the files"),
        ("n.tgz", "a tar file within another; unpack it and give the files"),
        ("1", "Gout Urate"),
        ("cut.txt.gz", "gzip damaged after 20 decompressed bytes"),
        ("latin.txt", f"line 1: byte 0xF6 is not UTF-8; {latin}"),
    ]
    before = sorted(tmp_path.parent.rglob("*"))
    for content in (zipped(files), tar(files)):
        found = read(write(content))
        assert [(one[0], str(one[1])[: len(right[1])]) for one, right in zip(found, expected, strict=True)] == expected
    assert {*tmp_path.parent.rglob("*")} - {*before} <= {tmp_path / "source"}
    for content, message in ((zipped({"a.pdf": b"%PDF-"}), "no file of the archive holds a document (1 failures)"),):
        with pytest.raises(SourceError) as raised:
            read(write(content))
        assert raised.value.in_file == message


def test_a_member_that_is_not_a_regular_file_is_a_failure(write: Write) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("null", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("empty.txt"))
    found = list(members(write(out.getvalue()), "tar"))
    what = "not a regular file but a link, a device or a sparse file"
    assert [(one.name, str(one)) for one in found if isinstance(one, MemberError)] == [
        (name, what) for name in ("link", "hard", "null")
    ]
    assert [one.name for one in found if not isinstance(one, MemberError)] == ["empty.txt"]


def test_a_damaged_or_encrypted_member_is_a_failure_and_the_others_are_read(write: Write) -> None:
    whole = bytearray(zipped({"a.txt": b"Gout and gout.", "b.txt": b"Asthma."}, zipfile.ZIP_STORED))
    at = whole.index(b"Gout and")
    whole[at] += 1
    assert read(write(bytes(whole))) == [
        ("a.txt", "damaged (Bad CRC-32 for file 'a.txt')"),
        ("source/b.txt", "Asthma."),
    ]
    whole[at] -= 1
    for place in (whole.index(b"PK\3\4") + 6, whole.index(b"PK\1\2") + 8):
        whole[place] |= 1  # encrypted
    assert read(write(bytes(whole))) == [("a.txt", "encrypted; decrypt it"), ("source/b.txt", "Asthma.")]


def test_a_member_without_a_name_is_a_failure_and_the_others_are_read(write: Write) -> None:
    whole = zipped({"a.txt": b"Gout.", "b.txt": b"Asthma."})
    place = whole.index(b"PK\x01\x02")  # the entry of a.txt in the list of members
    entry = bytearray(whole[place : whole.index(b"PK\x01\x02", place + 1)])
    entry[28:30], entry[32:34] = bytes(2), struct.pack("<H", 5)  # no name, and a comment in its place
    unnamed = whole[:place] + entry + whole[place + len(entry) :]
    assert read(write(unnamed)) == [("unnamed", "a member without a name"), ("source/b.txt", "Asthma.")]


def test_members_before_the_damage_of_an_archive_are_read(write: Write) -> None:
    whole = tar({"a.txt": b"Gout.", "b.txt": b"x" * 5000})
    records = parse(write(whole[:2000]))
    assert isinstance(next(records), Document)
    with pytest.raises(SourceError, match=r"a damaged tar archive \(unexpected end of data\); download it again$"):
        next(records)
    with pytest.raises(SourceError, match=r"a damaged zip archive \(File is not a zip file\); download it again$"):
        list(parse(write(zipped(ONE)[:-30])))
    for empty in (b"PK\5\6" + bytes(18), zipped({".hidden": b""})):
        with pytest.raises(SourceError, match=r"an archive without a file$"):
            list(parse(write(empty)))


def test_errors_of_the_standard_library_about_damage_are_one_line(write: Write) -> None:
    whole = zipped(ONE)
    at, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    with pytest.raises(SourceError, match=r"a damaged zip archive \(zip file version 25\.5\); download it again$"):
        list(parse(write(whole[: at + 6] + b"\xff" + whole[at + 7 :])))
    central, tail = bytearray(whole[at:end]), bytearray(whole[end:])
    central[30:32], central[42:46] = b"\x0c\0", b"\xff" * 4
    central += struct.pack("<HHQ", 1, 8, 2**63 + 5)  # where the member begins
    tail[12:16] = len(central).to_bytes(4, "little")
    with pytest.raises(SourceError, match=r"no file of the archive holds a document \(1 failures\)$"):
        list(parse(write(whole[:at] + bytes(central) + bytes(tail))))
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    chain = (header.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 2000
    with pytest.raises(SourceError, match=r"a damaged tar archive \(maximum recursion depth exceeded.*\); download"):
        list(parse(write(chain)))


@pytest.mark.parametrize("packed", [zipped, lambda files: gzip.compress(tar(files))])
def test_a_bomb_is_refused(write: Write, packed: Callable[[Mapping[str, bytes]], bytes]) -> None:
    path = write(packed({"a.txt": b"Gout.", "b.txt": b"x" * 3_000_000}))
    form = "zip" if path.read_bytes().startswith(b"PK") else "tar"
    assert len(list(members(path, form))) == 2
    with pytest.raises(SourceError, match="over 200 times as many; refused as a decompression bomb"):
        list(members(path, form, ratio_free=1_000_000))


def test_compressed_members_count_in_what_an_archive_may_unpack_to(write: Write) -> None:
    path = write(zipped({f"{n}.txt.gz": gzip.compress(b"x" * 900_000) for n in range(3)}))
    from e2emern.tasks.parsers.source_reader import open_source

    def read_all() -> None:
        for member in members(path, "zip", ratio_free=2_000_000):
            assert not isinstance(member, MemberError)
            with open_source(member) as source:
                assert sum(map(len, source.chunks())) == 900_000

    with pytest.raises(SourceError, match="refused as a decompression bomb"):
        read_all()


def test_a_header_and_a_list_of_members_may_not_fill_the_memory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tarfile.TarInfo("x")
    long.type, long.size = tarfile.XHDTYPE, 2_000_000
    with pytest.raises(SourceError, match=r"a damaged tar archive \(a header of 2,000,000 bytes\)"):
        list(parse(write(long.tobuf() + b" " * 2_000_000)))
    monkeypatch.setattr(archives, "_LONGEST_LIST", 50)
    with pytest.raises(SourceError, match=r"a damaged zip archive \(a list of members of \d+ bytes\)"):
        list(parse(write(zipped(ONE))))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    with pytest.raises(SourceError, match="an archive of more than 2 members; split it"):
        list(parse(write(tar({f"{n}.txt": b"Gout." for n in range(3)}))))
