"""The data of Dave et al., 2020: UCF101 with labels, Mini-Kinetics without, the length filter, and its Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsedense.data.catalog import Catalog
from sparsedense.data.datasets import mini_kinetics, ucf101
from sparsedense.data.datasets.description import DatasetDescription
from sparsedense.data.datasets.kinetics import REPLACEMENTS, youtube_id
from sparsedense.data.datasets.list_files import find_lists
from sparsedense.data.datasets.official import OfficialEntry, official_catalog
from sparsedense.data.datasets.video_index import VideoIndex
from sparsedense.data.published_list import read_published_list

if TYPE_CHECKING:
    from sparsedense.data.store import FrameStore  # brings torch, which takes seconds

DESCRIPTION = DatasetDescription(
    title="the paper's data: UCF101 labelled, Mini-Kinetics unlabelled",
    videos="13,320 labelled and up to 80,000 unlabelled videos",
    classes=101,
    size="6.5 GB and about 120 GB",
    page="https://www.crcv.ucf.edu/data/UCF101.php, https://github.com/s9xie/Mini-Kinetics-200",
    download=("`sparsedense datasets ucf101` and `sparsedense datasets mini-kinetics` tell; both below one folder",),
    layout=f"{ucf101.DESCRIPTION.layout}\n{mini_kinetics.DESCRIPTION.layout.rsplit(chr(10), 1)[0]}",
    about=(
        "prepare keeps all videos; the length filter is clips.min_dense_stride_frames of a training, 109 frames as "
        "the paper has it",
        "the paper validates on UCF101's test list 1, which is the split test here",
        "`sparsedense datasets paper --lists FOLDER` counts what the filter leaves, from lists with frame counts such "
        "as https://github.com/vt-vl-lab/video-data-aug publishes; with --store STORE, of a store",
    ),
)


@dataclass(frozen=True, slots=True)
class PaperCount:
    """One row of the paper's Table 1 beside what there is.

    Attributes:
        role: as the paper calls the set.
        paper: the paper's number of videos.
        listed: videos of the official list, or of the store.
        measured: how many of these have a known number of frames.
        kept: how many of the measured have enough frames.
        filtered: whether the paper's number is one after the length filter.
        why: what differs from the paper, and why; empty where nothing does.
    """

    role: str
    paper: int
    listed: int
    measured: int
    kept: int
    filtered: bool
    why: str

    @property
    def used(self) -> int:
        """Videos that the paper's rule takes, of those measured where it asks for their length."""
        return self.kept if self.filtered else self.listed


def read(source: Path, lists: Path, split: int) -> Catalog:
    """UCF101 with split 1, and the training videos of Mini-Kinetics as unlabelled ones.

    Raises:
        CatalogError: lists or videos are not there.
    """
    labelled = ucf101.listed_videos(lists, split)
    unlabelled = mini_kinetics.unlabelled_entries(lists)
    keys = {entry.key for entry in labelled}
    index = VideoIndex(source, key=lambda name: name.lower() if name.lower() in keys else youtube_id(name))
    return official_catalog(DESCRIPTION, index, [*labelled, *unlabelled], prefer=REPLACEMENTS)


def paper_counts_of_lists(lists: Path, *, min_frames: int) -> list[PaperCount]:
    """What the length filter leaves of the official lists, by published lists that tell numbers of frames.

    Args:
        lists: folder with the lists of UCF101 and Mini-Kinetics, and lists with frame counts in any folders below.
        min_frames: the fewest frames that the filter lets through.

    Raises:
        CatalogError: an official list is missing.
    """
    frames_of = frame_counts(lists)
    of_ucf101 = ucf101.listed_videos(lists, 1)
    sets = {
        "labelled training": [entry for entry in of_ucf101 if entry.split == "train"],
        "unlabelled training": mini_kinetics.unlabelled_entries(lists),
        "validation": [entry for entry in of_ucf101 if entry.split == "test"],
    }
    return [_count(role, _lengths(entries, frames_of), len(entries), min_frames) for role, entries in sets.items()]


def paper_counts_of_store(store: FrameStore, *, min_frames: int) -> list[PaperCount]:
    """What the length filter leaves of the videos of a store that was prepared with `--dataset paper`."""
    splits = {"labelled training": "train", "unlabelled training": "unlabelled", "validation": "test"}
    counts = []
    for role, split in splits.items():
        lengths = store.num_frames[store.videos(split=split)].tolist()
        counts.append(_count(role, lengths, len(lengths), min_frames))
    return counts


def frame_counts(lists: Path) -> dict[str, int]:
    """Frames of each video, by file name in small letters or by web video, of all lists below a folder that tell them.

    Where lists differ, the smaller number is taken.

    Raises:
        CatalogError: the folder is missing.
    """
    frames_of: dict[str, int] = {}
    for path in find_lists(lists, "*.txt"):
        if not _tells_frames(path):
            continue
        for clip in read_published_list(path):
            if clip.num_frames is not None:
                for key in {clip.stem.lower(), youtube_id(clip.stem)}:
                    frames_of[key] = min(clip.num_frames, frames_of.get(key, clip.num_frames))
    return frames_of


def _tells_frames(path: Path) -> bool:
    """Whether the first line of a file is a name and two whole numbers."""
    with path.open(encoding="utf-8", errors="replace") as file:
        words = file.readline().rsplit(maxsplit=2)
    return len(words) == 3 and words[1].isdigit() and words[2].isdigit()


def _lengths(entries: list[OfficialEntry], frames_of: Mapping[str, int]) -> list[int]:
    return [frames_of[entry.key] for entry in entries if entry.key in frames_of]


_TABLE_1 = {"labelled training": 7_417, "unlabelled training": 36_494, "validation": 3_783}


def _count(role: str, lengths: list[int], listed: int, min_frames: int) -> PaperCount:
    kept = sum(length >= min_frames for length in lengths)
    filtered = role != "validation"  # 3,783 is the whole test list
    paper = _TABLE_1[role]
    why = _why(role, paper, listed, len(lengths), kept, min_frames)
    return PaperCount(role, paper, listed, len(lengths), kept, filtered, why)


def _why(role: str, paper: int, listed: int, measured: int, kept: int, min_frames: int) -> str:
    if role == "validation":
        short = "the paper validates on videos of any length"
        if measured == listed:
            short += f"; the filter would leave {kept:,} of {measured:,}"
        return short if listed == paper else f"UCF101's test list 1 has {paper:,} videos, here are {listed:,}; {short}"
    if measured == listed:
        if kept == paper:
            return ""
        return f"{kept:,} of {listed:,} have at least {min_frames} frames" + _of_paper(role, listed, paper)
    if not measured:
        return "no list below the folder tells the numbers of frames" + _of_paper(role, listed, paper)
    share = kept / measured
    return (
        f"lengths of {measured:,} of {listed:,} are known, {kept:,} of them ({share:.1%}) pass; at that rate about "
        f"{round(share * listed, -2):,.0f} of all would" + _of_paper(role, listed, paper)
    )


def _of_paper(role: str, listed: int, paper: int) -> str:
    if role != "unlabelled training":
        return ""
    return (
        f". The paper has {paper:,}, {paper / listed:.0%} of these; the filter does not explain that, and the paper "
        "publishes no list: it must have had a part of the videos"
    )
