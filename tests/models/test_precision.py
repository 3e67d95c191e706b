import pytest
import torch

from sparsedense.models import precision
from sparsedense.models.precision import answering_dtype, cpu_gains_by_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "cpu", "gains"),
    [
        ({}, "AMD EPYC", False),
        ({"avx512_bf16": False, "amx_bf16": True}, "Intel(R) Xeon(R)", True),
        ({"avx512_bf16": True}, "AMD EPYC", True),
        ({"avx512_bf16": True, "amx_bf16": False}, "Intel(R) Xeon(R)", False),
    ],
)
def test_the_cpus_capabilities_are_asked(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], cpu: str, gains: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(precision, "cpu_name", lambda: cpu)
    assert cpu_gains_by_bfloat16() is gains


@pytest.mark.parametrize(("cpu", "gains"), [("AMD EPYC", True), ("Intel(R) Xeon(R)", False)])
def test_a_torch_without_the_public_function_is_asked_the_old_way(
    monkeypatch: pytest.MonkeyPatch, cpu: str, gains: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(precision, "cpu_name", lambda: cpu)
    assert cpu_gains_by_bfloat16() is gains


@pytest.mark.parametrize(
    ("asked", "gains", "dtype"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
        ("bfloat16", False, torch.bfloat16),
    ],
)
def test_bfloat16_is_taken_where_it_is_faster_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str, gains: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "cpu_gains_by_bfloat16", lambda: gains)
    assert answering_dtype(asked, torch.device("cpu")) is dtype


@pytest.mark.parametrize(("supported", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_is_asked_itself(monkeypatch: pytest.MonkeyPatch, supported: bool, dtype: torch.dtype) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert answering_dtype("auto", torch.device("cuda")) is dtype


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'half' is not known; use one of auto, float32, bfloat16"):
        answering_dtype("half", torch.device("cpu"))
