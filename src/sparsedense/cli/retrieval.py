"""Commands that find the videos of a store that are most like a clip."""

from collections.abc import Sequence
from pathlib import Path

from sparsedense.cli.output import print_json
from sparsedense.cli.parser import Precision, parse_function
from sparsedense.cli.prediction import progress_where_long, read_status

QUERIES_HELP = "files, folders, globs, http URLs, - for standard input, or paths of videos in the indexed store"


def index(arguments: Sequence[str]) -> None:
    """Compute the features of a store's videos, for `retrieve`."""

    def command(
        model: Path,
        store: str,
        out: Path = Path("index"),
        split: str | None = None,
        clips_per_video: int = 3,
        dtype: str = "float16",
        approximate: bool = False,
        overwrite: bool = False,
        batch_size: int = 16,
        num_workers: int = 1,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        """Write the dense and sparse features of each video; after an interruption, the same command goes on.

        Args:
            model: `model.safetensors` of a run; it needs no classes.
            store: folder that `sparsedense prepare` made, or its URL.
            out: the index's folder.
            split: index only the videos of this split.
            clips_per_video: evenly spaced dense clips a video, whose features are averaged.
            dtype: `float16`, or `float32` for twice the disk and the last digits of the similarities.
            approximate: also prepare approximate search with FAISS, which pays off above a million videos.
            overwrite: delete an index of another model, store or setting that is in the folder.
            batch_size: clips that go through the network at a time.
            num_workers: processes that read clips.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in.
        """
        from sparsedense.progress import progress_bar
        from sparsedense.retrieval.build import build_index

        with progress_bar("index") as advance:
            made = build_index(
                model,
                store,
                out,
                split=split,
                clips_per_video=clips_per_video,
                dtype=dtype,
                approximate=approximate,
                overwrite=overwrite,
                batch_size=batch_size,
                num_workers=num_workers,
                device=device,
                precision=precision,
                progress=advance,
            )
        info = made.info
        print(f"{out}: {info.num_rows} videos, dense and sparse features of {info.feature_dim} numbers ({info.dtype})")

    command(**parse_function(command, "index", arguments))


def retrieve(arguments: Sequence[str]) -> int:
    """Find the videos of an index that are most like a clip."""

    def command(
        index: Path,
        videos: list[str],
        top_k: int = 10,
        view: str = "dense",
        split: str | None = None,
        exclude_same_group: bool = False,
        search: str = "auto",
        model: Path | None = None,
        json: bool = False,
        sheet: Path | None = None,
        store: str | None = None,
        batch_size: int = 16,
        num_threads: int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> int:
        """Tell the most similar videos of each video. The exit status is 3 if some could not be read, 1 if none.

        Args:
            index: folder that `sparsedense index` made.
            videos: what to search for.
            top_k: how many videos to tell.
            view: `dense` compares evenly spaced dense clips, `sparse` the one clip that spans the video.
            split: find only videos of this split.
            exclude_same_group: leave out videos of the query's group (actor, scene, source video); for videos of the
                indexed store only.
            search: `exact`, `approximate` (FAISS), or `auto`: exact up to a million videos.
            model: the model that the index was made with, if it is not where it was.
            json: print one JSON list with an object for each video and nothing else.
            sheet: picture to write, .png, with frames of the query and below of what was found; with several videos, a
                folder.
            store: the store that was indexed, for --sheet, if it is not where it was.
            batch_size: clips that go through the network at a time.
            num_threads: videos decoded at a time; one a core if not given.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: `float32`, `bfloat16`, or `auto` for the one that the device computes faster in.
        """
        from sparsedense.retrieval.index import load_index
        from sparsedense.retrieval.output import print_retrievals, retrieval_record
        from sparsedense.retrieval.queries import retrieve as find

        if top_k < 1:
            raise ValueError(f"--top-k ({top_k}) must be at least 1")
        opened = load_index(index)
        with progress_where_long("retrieve", videos) as advance:
            answers = find(
                opened,
                videos,
                model=model,
                view=view,
                exclude_same_group=exclude_same_group,
                batch_size=batch_size,
                num_threads=num_threads,
                device=device,
                precision=precision,
                progress=advance,
                k=top_k,
                split=split,
                search=search,
            )
        if json:
            print_json([retrieval_record(answer) for answer in answers])
        else:
            print_retrievals(answers)
        if sheet is not None:
            from sparsedense.retrieval.sheet import write_sheets

            for path in write_sheets(sheet, opened, answers, store=store, several=len(answers) > 1):
                if not json:
                    print(f"contact sheet: {path}")
        errors = {answer.query: answer.error for answer in answers if answer.error is not None}
        damages = {answer.query: answer.damage for answer in answers if answer.damage is not None}
        return read_status(errors, damages, num_read=len(answers) - len(errors))

    return command(**parse_function(command, "retrieve", arguments, several=("videos", QUERIES_HELP)))
