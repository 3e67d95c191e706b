"""On a real cluster of two nodes on this machine; Ray is large, so it is no part of `dev`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparsedense.data.manifest import read_rows
from sparsedense.data.preparation.ray_pool import ordered_map_on_ray
from sparsedense.data.prepare import prepare
from tests.data.conftest import files_of
from tests.data.preparation.ray_jobs import squared_slowly, squared_with_mishaps, told
from tests.video import sample_videos as samples

ray = pytest.importorskip("ray", reason="Ray is not installed (260 MB): pip install 'sparsedense[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a CPU each; the nodes' processes import what this one does."""
    from ray.cluster_utils import Cluster

    root = str(Path(__file__).parents[3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=nodes)
        cluster.add_node(**nodes)
        ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def test_both_nodes_work_and_a_mishap_costs_one_job(cluster: Any, tmp_path: Path) -> None:
    assert ray.cluster_resources()["CPU"] == 2
    options: dict[str, Any] = {"shared": tmp_path, "failed": told, "stall_seconds": 8.0}
    results = list(ordered_map_on_ray(squared_with_mishaps, range(8), **options))
    expected: list[object] = [number * number for number in range(8)]
    expected[3] = "3: the decoder crashed (exit status 1)"
    expected[5] = "5: no frame for 8 seconds"
    assert results == expected
    with pytest.raises(OSError, match="disk full at 99"):
        list(ordered_map_on_ray(squared_with_mishaps, [1, 99], **options))
    with pytest.raises(OSError, match="nowhere is not there on the node"):
        list(ordered_map_on_ray(squared_with_mishaps, [1], **{**options, "shared": tmp_path / "nowhere"}))


def test_the_store_is_that_of_one_process(cluster: Any, tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / "videos" / ("run", "walk")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples.write_numbered(path, 3 + number, height=16, width=16)
    (tmp_path / "videos" / "run" / "broken.mp4").write_text("no video")
    settings: dict[str, Any] = {"codec": "raw", "max_shard_bytes": 13_000, "stall_seconds": 60.0}
    prepare(tmp_path / "videos", tmp_path / "one", workers=0, **settings)
    prepare(tmp_path / "videos", tmp_path / "ray", executor="ray", **settings)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "one")
    assert sum(row.status == "ok" for row in read_rows(tmp_path / "ray")) == 10


def test_the_jobs_of_a_node_that_is_lost_are_done_by_the_other(cluster: Any, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    results = ordered_map_on_ray(squared_slowly, range(20), shared=tmp_path, failed=told, stall_seconds=60.0)
    found = [next(results)]
    cluster.remove_node(node, allow_graceful=False)
    assert found + list(results) == [number * number for number in range(20)]
