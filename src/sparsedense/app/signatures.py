"""What the first bytes of a file tell: whether it is worth opening, and if not, what it seems to be."""

from pathlib import Path

from sparsedense.app.limits import RefusedError

ACCEPTED_TEXT = "MP4, MOV, MKV, WebM, AVI, MPEG, FLV, Ogg, WMV and animated GIF"

_TRANSPORT_PACKET = 188  # bytes of a packet of an MPEG transport stream, each of which begins with "G"
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"GIF8",
    b"\x06\x0e\x2b\x34",  # MXF
    b"DKIF",
    b"YUV4MPEG2 ",
)
_MOV_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_OTHER_STARTS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK", "a ZIP archive or an office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#EXTM3U", "a playlist, which only points to other files"),
    (b"ffconcat", "a list of files, which only points to other files"),
    (b"ID3", "sound without pictures"),
    (b"\xff\xfb", "sound without pictures"),
    (b"fLaC", "sound without pictures"),
    (b"<?xml", "text"),
    (b"<svg", "an SVG picture"),
    (b"<", "a web page or other text"),
)


def check_signature(path: Path) -> None:
    """Refuse a file whose first bytes are no video's; what passes may still be none.

    Raises:
        RefusedError: the file is empty or begins like something else.
    """
    with path.open("rb") as file:
        head = file.read(4 * _TRANSPORT_PACKET)
    if not head:
        raise RefusedError(422, "The file is empty.")
    if not _may_be_video(head):
        raise RefusedError(415, f"This is not a video: it looks like {_guess(head)}. Accepted are {ACCEPTED_TEXT}.")


def _may_be_video(head: bytes) -> bool:
    is_transport = len(head) > 2 * _TRANSPORT_PACKET and set(head[::_TRANSPORT_PACKET]) == {ord("G")}
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return head.startswith(_VIDEO_STARTS) or head[4:8] in _MOV_ATOMS or is_avi or is_transport


def _guess(head: bytes) -> str:
    if head[:4] == b"RIFF":
        return {b"WAVE": "sound without pictures", b"WEBP": "a WebP picture"}.get(head[8:12], "data of another kind")
    for start, name in _OTHER_STARTS:
        if head.startswith(start):
            return name
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character is cut off at the end
            return "data of another kind"
    return "data of another kind" if b"\x00" in head else "text"
