import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsedense.models.encoder import Encoder, EncoderConfig
from sparsedense.models.teacher import Teacher

LAW = settings(deadline=None, max_examples=30)  # the first call of an operator may take a second


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def move(module: nn.Module, seed: int) -> None:
    """Change parameters and buffers as training would."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    module(torch.randn(8, 4))


@LAW
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.integers(1, 4))
def test_parameters_are_a_moving_average_and_buffers_are_copies(seed: int, momentum: float, updates: int) -> None:
    torch.manual_seed(seed)
    student = network()
    teacher = Teacher(student, momentum=momentum)
    expected = {name: value.detach().double().clone() for name, value in student.named_parameters()}
    for update in range(updates):
        move(student, seed + update)
        teacher(torch.randn(8, 4))  # writes into the copy's own statistics
        teacher.update(student)
        for name, value in student.named_parameters():
            expected[name] = momentum * expected[name] + (1 - momentum) * value.detach().double()
    for name, value in teacher.module.named_parameters():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)
    for name, buffer in student.named_buffers():
        assert torch.equal(buffer, teacher.module.get_buffer(name)), name
    assert int(teacher.module.get_buffer("1.num_batches_tracked")) == updates


def test_momentum_one_never_moves_and_zero_is_the_student() -> None:
    for momentum in (0.0, 1.0):
        student = network()
        before = copy.deepcopy(student)
        teacher = Teacher(student, momentum=momentum)
        move(student, 1)
        teacher.update(student)
        source = student if momentum == 0.0 else before
        for ours, other in zip(teacher.module.parameters(), source.parameters(), strict=True):
            assert torch.equal(ours, other)


def test_teacher_is_a_copy_that_nothing_trains() -> None:
    student = network()
    clips = torch.randn(8, 4, requires_grad=True)
    teacher = Teacher(student)
    before = teacher(clips)
    assert torch.equal(before, student(clips))
    assert not before.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    optimiser = torch.optim.AdamW([*student.parameters(), *teacher.parameters()], lr=0.1, weight_decay=0.1)
    student(clips).square().sum().backward()
    optimiser.step()
    assert torch.equal(teacher(clips), before)
    assert not torch.equal(student(clips), before)


def test_batch_statistics_are_used_even_if_the_student_was_read_for_evaluation() -> None:
    student = network().eval()
    clips = torch.randn(8, 4) * 3 + 5
    teacher = Teacher(student)
    assert torch.equal(teacher(clips), copy.deepcopy(student).train()(clips))
    assert not student.training
    assert torch.equal(Teacher(student).eval()(clips), student(clips))


def test_an_encoder_has_a_teacher_that_follows_it() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(depth=10, width=0.125))
    teacher = Teacher(encoder, momentum=0.5)
    clips = torch.rand(2, 3, 8, 16, 16)
    assert torch.equal(teacher(clips), encoder(clips))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(1.5)
    teacher.update(encoder)
    stem = dict(teacher.module.named_parameters())["backbone.stem.0.weight"]
    torch.testing.assert_close(stem, dict(encoder.named_parameters())["backbone.stem.0.weight"] / 1.5 * 1.25)


def test_state_goes_through_a_checkpoint() -> None:
    student = network()
    teacher, restored = Teacher(student), Teacher(network())
    move(student, 3)
    teacher.update(student)
    restored.load_state_dict(teacher.state_dict())
    assert torch.equal(restored(torch.ones(3, 4)), teacher(torch.ones(3, 4)))


def test_modules_without_parameters_or_buffers_have_teachers_too() -> None:
    for module in (nn.ReLU(), nn.Linear(4, 3), nn.BatchNorm1d(4, affine=False)):
        teacher = Teacher(module)
        teacher.update(module)
        assert torch.equal(teacher(torch.eye(4)), module(torch.eye(4)))


def test_wrong_arguments_are_named() -> None:
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"momentum \({momentum}\) must be in \[0, 1\]"):
            Teacher(network(), momentum=momentum)
    with pytest.raises(ValueError, match=r"they differ in 0.weight, 1.weight; make a new Teacher"):
        Teacher(nn.Sequential(nn.Linear(4, 5, bias=False))).update(
            nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 5, bias=False))
        )
    with pytest.raises(ValueError, match="they differ in running_mean, running_var"):
        Teacher(nn.BatchNorm1d(4, affine=False)).update(nn.BatchNorm1d(5, affine=False))
