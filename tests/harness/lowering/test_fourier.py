"""Fourier transforms of PyTorch in every mode: agree where they are right, and a wrong scale is found."""

import pytest
import torch
from gradwitness.harness import check

MODES = ("R", "F", "RR", "FR", "RF", "FF")
Z = torch.complex(*torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
X = torch.randn(3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
WINDOW = torch.hann_window(4, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fftn", "irfftn", "ihfftn", "rfft2"])
def test_transforms_agree_in_every_norm(name, norm):
    x = X if name in ("rfft", "ihfft", "ihfftn", "rfft2") else Z
    result = check(lambda x: getattr(torch.fft, name)(x, norm=norm).abs().square(), x, modes=MODES)
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_real_results_of_any_length_agree(n):
    """Entries above n/2 are left out, missing ones are 0, and the middle one counts once where n is even."""
    result = check(lambda z: torch.fft.irfft(z, n=n).tanh(), Z, modes=MODES)
    assert result.verdict == "agree", result.explain()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_spectrogram_and_its_inverse_agree(dtype):
    def there_and_back(x):
        window = WINDOW.to(x.dtype)
        spectrum = torch.stft(x, 4, window=window, return_complex=True)
        return torch.istft(spectrum * spectrum.abs(), 4, window=window)

    result = check(there_and_back, torch.linspace(-1.0, 1.0, 20).sin(), dtypes=(dtype,))
    assert result.verdict == "agree", result.explain()


def test_a_forgotten_scale_is_found():
    class Inverse(torch.autograd.Function):
        """The inverse transform, with a backward pass that forgets 1/n."""

        @staticmethod
        def forward(ctx, z):
            return torch.fft.ifft(z)

        @staticmethod
        def backward(ctx, g):
            return torch.fft.fft(g)

    result = check(Inverse.apply, Z)
    assert result.verdict == "mismatch"
    assert result.culprit.line == Inverse.backward.__code__.co_firstlineno
    assert result.frame["rel_error"].max() == pytest.approx(5.0, rel=1e-12)  # 6 times as much
