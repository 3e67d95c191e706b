import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsedense.detection.head import DetectionHead, HeadConfig, levels_for, points
from tests.detection.known_heads import LABELS, small_head


def inputs(length: int, valid: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(1, length, 2, 4, generator=generator)
    presence = torch.rand(1, length, 2, generator=generator)
    return rows, presence, (torch.arange(length) < valid)[None]


def test_points_are_the_middles_of_what_their_stride_covers() -> None:
    centres, strides = points(8, 3)
    assert centres.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 1.0, 3.0, 5.0, 7.0, 2.0, 6.0]
    assert strides.tolist() == [1.0] * 8 + [2.0] * 4 + [4.0] * 2


def test_the_output_has_a_row_for_each_point_and_distances_that_can_be() -> None:
    head = small_head()
    with torch.inference_mode():
        output = head(*inputs(16, 11))
    assert output.class_logits_BML.shape == (1, 16 + 8 + 4, 2)
    assert output.position_logits_BPA.shape == (1, 16, 3)
    _, strides_M = points(16, 3)
    assert (output.distances_BM2 >= 0).all()
    assert (output.distances_BM2[0].numpy() <= 8 * strides_M[:, None]).all()
    assert output.valid_BM[0].tolist() == [True] * 11 + [False] * 5 + [True] * 6 + [False] * 2 + [True] * 3 + [False]


@settings(deadline=None, max_examples=10)
@given(valid=st.integers(1, 16), seed=st.integers(0, 5))
def test_padding_changes_nothing(valid: int, seed: int) -> None:
    """What lies behind the end of a video, and how much of it there is, says nothing."""
    head = small_head()
    rows, presence, is_valid = inputs(16, valid, seed)
    longer = [
        torch.nn.functional.pad(each.movedim(1, -1), (0, 8), value=9.0).movedim(-1, 1) for each in (rows, presence)
    ]
    with torch.inference_mode():
        short = head(rows, presence, is_valid)
        long = head(*longer, torch.nn.functional.pad(is_valid, (0, 8)))
    torch.testing.assert_close(short.class_logits_BML[short.valid_BM], long.class_logits_BML[long.valid_BM])
    torch.testing.assert_close(short.distances_BM2[short.valid_BM], long.distances_BM2[long.valid_BM])


def test_an_answer_depends_on_no_more_than_its_reach() -> None:
    head = small_head()
    reach = head.config.reach_positions
    length = 4 * -(-(2 * reach + 8) // 4)
    rows, presence, valid = inputs(length, length)
    changed = rows.clone()
    changed[:, 0] += 5.0
    with torch.inference_mode():
        before, after = head(rows, presence, valid), head(changed, presence, valid)
    differs_M = (before.class_logits_BML != after.class_logits_BML).any(dim=-1)[0].numpy()
    centres_M = points(length, 3).centres_M
    assert differs_M.any()
    assert centres_M[differs_M].max() <= reach
    assert centres_M[differs_M].max() >= reach / 2, "the reach is told far too long"


def test_position_logits_need_no_surroundings() -> None:
    head = small_head()
    rows, presence, valid = inputs(8, 8)
    with torch.inference_mode():
        whole = head(rows, presence, valid).position_logits_BPA
        torch.testing.assert_close(head.position_logits(rows[:, 3:4], presence[:, 3:4]), whole[:, 3:4])


def test_normalisation_takes_shift_and_scale_away() -> None:
    head = small_head()
    rows, presence, valid = inputs(8, 8)
    with torch.inference_mode():
        plain = head(rows, presence, valid).class_logits_BML
        head.fit_normalisation(np.full((2, 4), 7.0, dtype=np.float32), np.full((2, 4), 3.0, dtype=np.float32))
        torch.testing.assert_close(head(rows * 3 + 7, presence, valid).class_logits_BML, plain, atol=1e-4, rtol=1e-4)
        head.fit_normalisation(np.zeros((2, 4), dtype=np.float32), np.zeros((2, 4), dtype=np.float32))
        assert head(rows, presence, valid).class_logits_BML.isfinite().all()


@pytest.mark.parametrize("longest", [0.0, 1.0, 4.0, 5.0, 40.0, 200.0])
def test_levels_tell_the_longest_segment_with_room(longest: float) -> None:
    config = HeadConfig(LABELS, 4, 1, num_levels=levels_for(longest))
    assert config.most_positions >= longest


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        HeadConfig(("a", "a"), 4, 1)
    with pytest.raises(ValueError, match="must differ, and be at least one"):
        HeadConfig((), 4, 1)
    with pytest.raises(ValueError, match="num_levels \\(9\\)"):
        HeadConfig(LABELS, 4, 1, num_levels=9)
    with pytest.raises(ValueError, match="dropout"):
        HeadConfig(LABELS, 4, 1, dropout=1.0)
    with pytest.raises(ValueError, match="no multiple of 4"):
        small_head()(*inputs(7, 7))


def test_a_head_is_a_module_of_few_parameters() -> None:
    head = DetectionHead(HeadConfig(tuple("abcdefghij"), 512, 3))
    assert sum(parameter.numel() for parameter in head.parameters()) < 1_000_000


def test_a_scale_that_is_not_known_does_not_matter() -> None:
    head = small_head(num_scales=2, feature_dim=4)
    rows, presence = torch.randn(1, 8, 2, 4), torch.ones(1, 8, 2)
    presence[:, :, 1] = 0.0
    other = rows.clone()
    other[:, :, 1] += 5.0
    with torch.no_grad():
        one, another = (head(each, presence, torch.ones(1, 8, dtype=torch.bool)) for each in (rows, other))
    torch.testing.assert_close(one.class_logits_BML, another.class_logits_BML)
    torch.testing.assert_close(one.position_logits_BPA, another.position_logits_BPA)
