"""One call of `prepare` on a target that is held: what an interrupted run left, then what the source has now."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsedense.data.catalog import Catalog
from sparsedense.data.errors import CatalogError, StoreError
from sparsedense.data.listing import counted
from sparsedense.data.locations import Location, resolved
from sparsedense.data.preparation.arguments import PrepareArguments, format_of, same_splits, told_differences
from sparsedense.data.preparation.plan import Plan, planned, read_plan, write_plan
from sparsedense.data.preparation.run import PrepareRun, RunSettings
from sparsedense.data.preparation.store_assembly import merged_rows, take_over_shards, write_store
from sparsedense.data.preparation.store_target import StoreTarget
from sparsedense.data.preparation.summary import PrepareSummary, summary_of
from sparsedense.data.preparation.update import StoredRows, changes_nothing, plan_update, read_stored


class Preparation:
    """One call of `prepare`.

    Args:
        source: folder or list of videos, or the URL of one.
        target: where to make the store; it must be held.
        arguments: on what the store depends.
        shard: number and count of the part of the source to take; None for all of it.
        settings: how to work.
    """

    def __init__(
        self,
        source: Location,
        target: StoreTarget,
        arguments: PrepareArguments,
        shard: tuple[int, int] | None,
        settings: RunSettings,
    ) -> None:
        self._source = source
        self._target = target
        self._arguments = arguments
        self._record = arguments.record()
        self._shard = shard
        self._settings = settings

    def run(self, *, overwrite: bool) -> PrepareSummary:
        """Make the store, finish it, or bring it up to date.

        Args:
            overwrite: make a store that exists anew.

        Raises:
            CatalogError: the source cannot be read, or nothing of it can be used.
            StoreError: there is another store, or the source has gone while it was read.
            OSError: the store cannot be written.
            RuntimeError: worker processes cannot be started.
        """
        start = time.perf_counter()
        done: list[PrepareSummary] = []
        plan = self._unfinished(overwrite=overwrite)
        resumed = plan is not None
        if plan is not None:
            done.append(self._carry_out(plan))
        # The source may have changed since an earlier plan was made; only a part of it keeps to the plan.
        plan = None if resumed and self._shard is not None else self._new_plan(overwrite=overwrite and not resumed)
        if plan is not None:
            self._target.start()
            write_plan(self._target.plan, plan)
            done.append(self._carry_out(plan))
        summary = done[-1] if done else self._stored_summary()
        return replace(
            summary,
            seconds=time.perf_counter() - start,
            files_read=sum(one.files_read for one in done),
            frames_read=sum(one.frames_read for one in done),
            resumed=resumed,
            changed=any(one.changed for one in done),
        )

    def _unfinished(self, *, overwrite: bool) -> Plan | None:
        """The plan of a run that was interrupted; what has lost its meaning or is to be overwritten is thrown away."""
        if not self._target.plan.exists():
            return None
        plan = read_plan(self._target.plan)
        differences = self._differences(plan)
        if plan.base is not None:
            useful = not overwrite and self._target.exists and self._stored().mark == plan.base
        else:
            useful = not (overwrite and differences)
        if not useful:
            self._target.discard()
            return None
        if not differences and plan.base is None and self._target.exists and not overwrite:
            differences = "it was to overwrite the store that is there"
        if differences:
            raise StoreError(
                f"an unfinished run of prepare for {self._target.name} was another one: {differences}; run it again as "
                "it was, or use --overwrite to start anew"
            )
        return plan

    def _differences(self, plan: Plan) -> str:
        now = {**self._record, "source": resolved(self._source), "shard": _told(self._shard)}
        before = {**plan.arguments, "source": plan.source, "shard": _told(_part(plan.shard))}
        return told_differences(before, now)

    def _new_plan(self, *, overwrite: bool) -> Plan | None:
        """What is to be done now; None where there is nothing to do."""
        if overwrite or not self._target.exists:
            catalog = self._arguments.catalog(self._source)
            return self._plan_of(catalog)
        stored = self._stored()
        self._check_same_store(stored)
        kept = stored.splits if same_splits(stored.info.arguments, self._record) else None
        catalog = self._arguments.catalog(self._source, kept_splits=kept)
        if self._shard is not None:
            self._check_same_catalog(stored, catalog)
            return None
        plan = plan_update(stored, catalog, source=resolved(self._source), arguments=self._record)
        if not changes_nothing(plan, stored):
            return plan
        files = [video.source for video in plan.videos]
        if files != stored.files:  # other times, same content: not to be hashed again
            self._target.replace_sources(files)
        return None

    def _plan_of(self, catalog: Catalog) -> Plan:
        videos = planned(catalog)
        shard: Mapping[str, Any] | None = None
        if self._shard is not None:
            number, count = self._shard
            videos = videos[number - 1 :: count]
            shard = {"number": number, "count": count, "catalog": _mark_of_catalog(catalog)}
        return Plan(
            source=resolved(self._source),
            arguments=self._record,
            class_names=tuple(sorted({entry.label for entry in catalog if entry.label is not None})),
            notes=catalog.notes,
            shard=shard,
            missing=catalog.missing,
            videos=videos,
        )

    def _carry_out(self, plan: Plan) -> PrepareSummary:
        target = self._target
        stored = None if plan.base is None else self._stored()
        run = PrepareRun(
            plan,
            target.partial,
            target.work,
            frame_format=self._arguments.frame_format,
            settings=self._settings,
            first_shard=0 if stored is None else stored.info.num_shards,
            ship=target.ship,
        )
        run.run()
        rows, files = merged_rows(plan, run.entries, stored)
        if plan.shard is None and not any(row.status == "ok" for row in rows):
            target.discard()
            raise _nothing_usable(plan, [(row.path, row.reason or "") for row in rows])
        if stored is not None:
            if rows == stored.rows:  # what was tried again is as it was
                target.discard()
                summary = summary_of(target.name, stored.info, stored.rows)
                return replace(summary, files_read=len(run.entries) - run.num_before)
            codec, scratch = self._arguments.codec, target.work / "rewritten"
            take_over_shards(rows, stored, target=target, codec=codec, scratch=scratch)
        info = write_store(target.partial, plan, rows, files, num_shards=run.num_shards)
        target.publish()
        return replace(
            summary_of(target.name, info, rows),
            files_read=len(run.entries) - run.num_before,
            frames_read=run.num_frames,
            changed=True,
        )

    def _stored(self) -> StoredRows:
        return read_stored(self._target.out)

    def _stored_summary(self) -> PrepareSummary:
        stored = self._stored()
        return summary_of(self._target.name, stored.info, stored.rows)

    def _check_same_store(self, stored: StoredRows) -> None:
        """Refuse to bring a store up to date that was made otherwise, or from something else."""
        info = stored.info
        before = {
            **info.arguments,
            "codec": info.codec,
            "short_side": info.short_side,
            "quality": info.quality,
            "min_frames": info.min_frames,
            "source": info.source,
            "shard": _told(_part(info.shard)),
        }
        now = {**format_of(self._record), "source": Path(resolved(self._source)).name, "shard": _told(self._shard)}
        differences = told_differences(before, now)
        if differences:
            raise StoreError(
                f"{self._target.name} is a frame store that was made otherwise: {differences}; use --overwrite to make "
                "it again, or choose another folder"
            )

    def _check_same_catalog(self, stored: StoredRows, catalog: Catalog) -> None:
        if stored.info.shard is not None and stored.info.shard["catalog"] != _mark_of_catalog(catalog):
            raise StoreError(
                f"the source {self._source} has changed since {self._target.name} was made from a part of it; make all "
                "parts again with --overwrite, or merge them as they are and bring the merged store up to date"
            )


def _part(shard: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if shard is None else (int(shard["number"]), int(shard["count"]))


def _told(part: tuple[int, int] | None) -> str | None:
    return None if part is None else f"{part[0]}/{part[1]}"


def _mark_of_catalog(catalog: Catalog) -> str:
    """Tells a list of videos from others."""
    digest = hashlib.sha256()
    for entry in catalog:
        digest.update(repr((catalog.name(entry), entry.label, entry.group, entry.split)).encode("utf-8", "replace"))
    return digest.hexdigest()


def _nothing_usable(plan: Plan, rejects: Sequence[tuple[str, str]]) -> CatalogError:
    reasons = "; ".join(f"{path}: {reason}" for path, reason in rejects[:5])
    more = ", ..." if len(rejects) > 5 else ""
    count = counted(len(rejects), "video")
    return CatalogError(f"none of the {count} of {Path(plan.source).name} can be used ({reasons}{more})")
