"""Files that no server should be given: what they are called, their bytes, and how the page should refuse them."""

import io
import struct
import wave
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sparsedense.video.write import write_video
from tests.video.sample_videos import numbered_frames, write_audio_only, write_headless, write_numbered

_NOISE = np.random.default_rng(1).bytes(5000)
SECRET = "the-secret-of-this-computer"


def _written(write: Callable[[Path], object], name: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        write(folder / name)
        return (folder / name).read_bytes()

    return make


def _picture(ending: str) -> Callable[[Path], bytes]:
    return lambda _folder: cv2.imencode(ending, numbered_frames(1)[0])[1].tobytes()


def _playlist(folder: Path) -> bytes:
    (folder / "secret.txt").write_text(SECRET)
    return f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/secret.txt\n#EXT-X-ENDLIST\n".encode()


def _file_list(folder: Path) -> bytes:
    write_numbered(folder / "other.mp4", 10)
    return f"ffconcat version 1.0\nfile '{folder}/other.mp4'\n".encode()


def _zip(_folder: Path) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(1_000_000))
    return made.getvalue()


def _sound(_folder: Path) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    return made.getvalue()


def _one_frame(folder: Path) -> bytes:
    write_video(folder / "one.mp4", numbered_frames(1))
    return (folder / "one.mp4").read_bytes()


def _huge_frames(folder: Path) -> bytes:
    """A file whose header claims 9,000 x 9,000 pixels; the stream itself has no room for that."""
    with av.open(str(folder / "huge.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr24"
        for pixels in numbered_frames(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray((folder / "huge.avi").read_bytes())
    header = data.index(b"strf") + 12  # width and height of a BITMAPINFOHEADER
    struct.pack_into("<ii", data, header, 9_000, 9_000)
    return bytes(data)


def _too_long(folder: Path) -> bytes:
    """A small file of three frames, ten hours apart."""
    with av.open(str(folder / "long.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for number, pixels in enumerate(numbered_frames(3)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number * 36_000 * 25, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return (folder / "long.mkv").read_bytes()


def _scrambled(folder: Path) -> bytes:
    """A good header over noise."""
    write_numbered(folder / "good.mp4", 20)
    data = bytearray((folder / "good.mp4").read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = np.random.default_rng(0).integers(0, 256, end - begin, dtype=np.uint8).tobytes()
    return bytes(data)


def _deep_boxes(_folder: Path) -> bytes:
    """Boxes in boxes, thousands deep."""
    return (
        struct.pack(">I4s", 20, b"ftyp")
        + b"isom"
        + bytes(8)
        + b"".join(struct.pack(">I4s", 8 * (4000 - depth), b"moov") for depth in range(4000))
    )


def _plain(content: bytes) -> Callable[[Path], bytes]:
    return lambda _folder: content


# What it is, how it is made, the name under which it comes, status of the answer, a part of its message.
HOSTILE: list[tuple[str, Callable[[Path], bytes], str, int, str]] = [
    ("empty", _plain(b""), "a.mp4", 422, "The file is empty"),
    ("text", _plain(b"hello, I am no video\n" * 60), "a.mp4", 415, "looks like text"),
    ("noise", _plain(_NOISE), "a.mp4", 415, "data of another kind"),
    ("zeros", _plain(bytes(5000)), "a.mp4", 415, "data of another kind"),
    ("web page", _plain(b"<!doctype html><script>alert(1)</script>"), "a.mp4", 415, "a web page"),
    ("SVG with a script", _plain(b"<svg onload='alert(1)'/>"), "a.svg", 415, "an SVG picture"),
    ("PNG", _picture(".png"), "a.mp4", 415, "a PNG picture"),
    ("JPEG", _picture(".jpg"), "a.mp4", 415, "a JPEG picture"),
    ("PDF", _plain(b"%PDF-1.7\n" + bytes(500)), "a.mp4", 415, "a PDF document"),
    ("ZIP bomb", _zip, "a.mp4", 415, "a ZIP archive"),
    ("gzip", _plain(b"\x1f\x8b\x08" + bytes(50)), "a.mp4", 415, "a gzip archive"),
    ("program", _plain(b"\x7fELF" + bytes(500)), "a.mp4", 415, "a program"),
    ("sound", _sound, "a.mp4", 415, "sound without pictures"),
    ("playlist of local files", _playlist, "a.m3u8", 415, "only points to other files"),
    ("list of local files", _file_list, "a.mp4", 415, "only points to other files"),
    ("description of a stream", _plain(b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"), "a.mp4", 415, "text"),
    ("sound in MP4", _written(write_audio_only, "s.mp4"), "a.mp4", 415, "sound but no pictures"),
    ("MP4 without its header", _written(write_headless, "h.mp4"), "a.mp4", 422, "damaged or cut off"),
    ("a video's first bytes only", _plain(b"\x1a\x45\xdf\xa3" + bytes(300)), "a.mkv", 422, "damaged or cut off"),
    ("noise that begins like MP4", _plain(b"\0\0\0\x18ftyp" + _NOISE), "a.mp4", 422, "damaged"),
    ("boxes in boxes", _deep_boxes, "a.mp4", 422, ""),
    ("a good header over noise", _scrambled, "a.mp4", 422, "None of its frames can be decoded"),
    ("one frame", _one_frame, "a.mp4", 422, "a picture, not a video"),
    ("frames of 81 million pixels", _huge_frames, "a.avi", 422, "too large: 9000 x 9000"),
    ("ten hours between frames", _too_long, "a.mkv", 422, "too long: videos of up to 20 s"),
    ("more than is accepted", _plain(bytes(2_000_001)), "a.mp4", 413, "too large: up to 2 MB"),
]  # fmt: skip
