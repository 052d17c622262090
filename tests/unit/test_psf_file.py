from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.data
import torch

from restorekit.builtin.psf_file import PsfFile, centred
from restorekit.errors import ImageError, UserError

LEVIN = Path(__file__).parents[2].parent / "shared" / "data" / "kernels" / "levin09.npz"


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    file = tmp_path / "kernels.npz"
    np.savez(file, one=rng.random((5, 9)) ** 3, two=np.pad(rng.random((4, 4)), ((0, 6), (3, 0))), three=np.ones((1, 1)))
    return file


def test_the_recorded_kernel_is_the_one_that_blurs(kernels: Path) -> None:
    blur = PsfFile(file=kernels, kernel="two")
    pixels = skimage.data.coffee()[100:180, 200:290] / 255.0
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    params = blur.sample(1, (3, 80, 90), torch.Generator().manual_seed(0))
    done = blur.apply(image, params)
    psf = done.params["psf"][0].double().numpy()
    expected = np.stack([scipy.ndimage.convolve(pixels[..., c], psf, mode="mirror") for c in range(3)])
    np.testing.assert_allclose(done.image[0], expected, atol=1e-5)
    assert blur.margin == psf.shape[0] // 2


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_a_kernel_is_moved_so_that_its_centroid_is_its_centre(kernels: Path, name: str) -> None:
    with np.load(kernels) as opened:
        given = opened[name] / opened[name].sum()
    moved = PsfFile(file=kernels, kernel=name).draw_psf(1, torch.Generator())[0].double().numpy()
    assert moved.shape[0] == moved.shape[1]
    assert moved.shape[0] % 2 == 1
    assert moved.sum() == pytest.approx(1, abs=1e-6)
    assert moved.min() >= 0
    centre = scipy.ndimage.center_of_mass(moved)
    assert centre == pytest.approx((moved.shape[0] // 2,) * 2, abs=1e-4)
    # Moved and otherwise the same: scipy's bilinear shift of the kernel, by as much, gives the same picture.
    wide = np.pad(given, 12)
    offset = np.array(wide.shape) // 2 - np.array(scipy.ndimage.center_of_mass(wide))
    expected = scipy.ndimage.shift(wide, offset, order=1)
    r = moved.shape[0] // 2
    middle = np.array(wide.shape) // 2
    np.testing.assert_allclose(moved, expected[middle[0] - r : middle[0] + r + 1, middle[1] - r : middle[1] + r + 1], atol=1e-6)


def test_without_a_name_one_is_drawn_for_each_image(kernels: Path) -> None:
    blur = PsfFile(file=kernels)
    drawn = blur.draw_psf(40, torch.Generator().manual_seed(1))
    assert len({psf.numpy().tobytes() for psf in drawn}) == 3
    assert torch.equal(drawn, blur.draw_psf(40, torch.Generator().manual_seed(1)))


def test_one_kernel_in_a_file_of_another_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.eye(5))
    assert PsfFile(file=tmp_path / "k.npy").draw_psf(1, torch.Generator())[0].diagonal().tolist() == pytest.approx([0.2] * 5)


def test_files_that_hold_no_kernel(tmp_path: Path, kernels: Path) -> None:
    with pytest.raises(UserError, match=r"no kernel 'on'\. Did you mean one"):
        PsfFile(file=kernels, kernel="on")
    with pytest.raises(UserError, match="no file of kernels"):
        PsfFile(file=tmp_path / "missing.npz")
    np.savez(tmp_path / "bad.npz", a=np.ones((3, 3)), b=-np.ones((3, 3)))
    with pytest.raises(UserError, match=r"bad\.npz: b: a kernel is"):
        PsfFile(file=tmp_path / "bad.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(UserError, match="holds no kernel"):
        PsfFile(file=tmp_path / "empty.npz")
    with pytest.raises(ImageError):
        PsfFile(file=tmp_path / "missing.npy")


def test_levins_kernels() -> None:
    if not LEVIN.is_file():
        pytest.skip(f"needs {LEVIN.name} in {LEVIN.parent}")
    for name in (f"k{i}" for i in range(1, 9)):
        psf = PsfFile(file=LEVIN, kernel=name).draw_psf(1, torch.Generator())[0].double()
        with np.load(LEVIN) as opened:
            given = opened[name]
        assert 13 <= psf.shape[0] <= 35
        spectra = [np.abs(np.fft.fft2(kernel, (64, 64))) for kernel in (psf.numpy(), given)]
        assert (
            np.corrcoef(spectra[0].ravel(), spectra[1].ravel())[0, 1] > 0.9
        )  # a shift keeps the spectrum, all but what bilinear weights smooth
    assert centred(torch.ones(1, 1)).tolist() == [[1.0]]
