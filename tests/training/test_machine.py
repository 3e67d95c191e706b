import pytest
import torch

from sparsedense.config import MachineConfig
from sparsedense.training import machine
from sparsedense.training.machine import (
    cpu_computes_bfloat16,
    describe_environment,
    resolve_channels_last,
    resolve_precision,
    uses_cuda,
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, cuda_bf16: bool = False, cpu_bf16: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or cuda_bf16
    )
    monkeypatch.setattr(machine, "cpu_computes_bfloat16", lambda: cpu_bf16)


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bfloat16_where_it_is_native(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    expected = "bf16-mixed" if native else "32-true"
    pretend(monkeypatch, cuda=False, cpu_bf16=native)
    assert resolve_precision(MachineConfig()) == expected
    pretend(monkeypatch, cuda=True, cuda_bf16=native, cpu_bf16=not native)
    assert resolve_precision(MachineConfig()) == expected
    assert resolve_precision(MachineConfig(accelerator="cpu")) == ("32-true" if native else "bf16-mixed")


def test_a_precision_that_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False, cpu_bf16=True)
    assert resolve_precision(MachineConfig(precision="32-true")) == "32-true"


def test_channels_last_goes_with_a_gpu_or_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=False)
    assert not resolve_channels_last(MachineConfig())
    assert resolve_channels_last(MachineConfig(precision="bf16-mixed"))
    assert resolve_channels_last(MachineConfig(channels_last=True))
    pretend(monkeypatch, cuda=True)
    assert resolve_channels_last(MachineConfig())
    assert not resolve_channels_last(MachineConfig(channels_last=False))
    assert not resolve_channels_last(MachineConfig(accelerator="cpu"))


def test_cuda_is_used_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True)
    assert [uses_cuda(MachineConfig(accelerator=name)) for name in ("auto", "gpu", "cuda", "cpu")] == [True] * 3 + [
        False
    ]
    pretend(monkeypatch, cuda=False)
    assert not uses_cuda(MachineConfig())


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [({}, False), ({"avx512_bf16": False, "amx_bf16": True}, True), ({"avx512_bf16": True}, True)],
)
def test_the_cpus_capabilities_are_asked(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert cpu_computes_bfloat16() is native


def test_a_torch_without_the_public_function_is_asked_the_old_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert cpu_computes_bfloat16()


def test_the_environment_names_versions_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/sparsedense", "train", "store"])
    described = describe_environment()
    assert described["command"] == "sparsedense train store", "no path of the machine"
    assert described["torch"] == torch.__version__.split("+")[0] or described["torch"] == torch.__version__
    assert described["cores"] >= 1
    assert isinstance(described["gpu"], list)
    assert {"sparsedense", "torchvision", "lightning", "av", "python", "platform", "cpu"} <= set(described)
