"""What the page makes of a picture, beside what the command line makes of it."""

from __future__ import annotations

import io
import pickle
import shlex
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from restorekit_style.filters import RandomFilters

from restorekit import UserError, discovery, photos, recipes
from restorekit.cli import main
from restorekit.modelfile import Model
from restorekit.ui import forms, work
from restorekit.ui.work import Rules, Upload, Wish


@pytest.fixture(scope="module")
def offers() -> dict[str, forms.Offer]:
    return dict(forms.catalogue(discovery.registry(), {}, accept_models=True).offers)


def uploaded(file: Path) -> Upload:
    """The same file where an upload would lie: under another name, so that nothing may depend on that."""
    folder = file.parent.parent / "uploads" / file.name
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"stored{file.suffix}"
    copy.write_bytes(file.read_bytes())
    return Upload(copy, file.name)


def place(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("picture", "method", "more"),
    [
        ("cat.png", "core/tv-denoise", {"settings": {"weight": 0.1}}),
        ("cat.jpg", "core/nlm-denoise", {"settings": {"search": 2}, "strength": 0.5}),
        ("cat.jpg", "core/identity", {"suffix": ".png", "strip": True}),
        ("cat.webp", "core/tv-denoise", {"self_ensemble": True}),
        ("grey.tif", "core/wiener", {"psf": "psf.npy"}),
        ("deep.png", "core/biharmonic-inpaint", {"mask": "hole.png"}),
        ("cat.png", "core/blind", {"settings": {"psf": "core/l0", "restorer": "core/wiener"}, "seed": 3}),
    ],
)
def test_the_result_is_the_command_line_s(
    offers: dict[str, forms.Offer],
    given: Path,
    tmp_path: Path,
    picture: str,
    method: str,
    more: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {name: uploaded(given / file) for name, file in more.items() if name in ("psf", "mask")}
    wish = Wish(uploaded(given / picture), offers[method], **{**more, **files})
    done = work.restore(wish, place(tmp_path), Rules(device="cpu"))
    assert done.name == f"{Path(picture).stem}-restored{more.get('suffix', Path(picture).suffix)}"
    monkeypatch.chdir(given)
    program, *arguments = shlex.split(done.command)
    assert program == "restorekit"
    assert main([*arguments, "--device", "cpu"]) == 0
    assert (given / done.name).read_bytes() == done.file.read_bytes()


def test_a_method_that_draws_draws_by_the_name_that_the_person_gave(
    offers: dict[str, forms.Offer], given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = torch.empty(0)

    def restore(self: Any, degraded: Any) -> torch.Tensor:
        nonlocal drawn
        drawn = torch.rand(3)
        return degraded.image

    monkeypatch.setattr(discovery.registry().find("restorer", "core/identity").load(), "restore", restore)
    seen = []
    for file, name in (("cat.png", "cat.png"), ("cat.png", "dog.png")):
        upload = Upload(uploaded(given / file).path, name)
        work.restore(Wish(upload, offers["core/identity"]), place(tmp_path), Rules(device="cpu"))
        seen.append(drawn)
    assert main(["restore", str(given / "cat.png"), "-o", str(tmp_path / "x.png"), "--with", "core/identity", "--device", "cpu"]) == 0
    assert torch.equal(seen[0], drawn)
    assert not torch.equal(seen[1], drawn)


def test_each_person_hears_the_warnings_of_their_picture(
    offers: dict[str, forms.Offer], given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restore(self: Any, degraded: Any) -> torch.Tensor:
        warnings.warn("something is\nnot as it should be", UserWarning, stacklevel=1)
        return degraded.image

    monkeypatch.setattr(discovery.registry().find("restorer", "core/identity").load(), "restore", restore)
    with warnings.catch_warnings(record=True):
        warnings.resetwarnings()
        work.listen()
        for _ in range(2):
            done = work.restore(Wish(uploaded(given / "cat.png"), offers["core/identity"]), place(tmp_path), Rules(device="cpu"))
            assert done.facts[2:] == ("warning: something is not as it should be",)


def test_previews_are_of_one_size_that_browsers_show(offers: dict[str, forms.Offer], given: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(work, "PREVIEW", 40)
    done = work.restore(Wish(uploaded(given / "cat.webp"), offers["core/identity"]), place(tmp_path), Rules(device="cpu"))
    assert done.size == (40, 32)
    for file in (done.before, done.after):
        with Image.open(file) as opened:
            assert (opened.format, opened.size) == ("WEBP", (40, 32))
    with Image.open(done.file) as opened:
        assert (opened.mode, opened.size) == ("RGBA", (80, 64))


def test_an_upload_is_described_by_what_its_file_says(given: Path, tmp_path: Path) -> None:
    file, size, facts = work.look(uploaded(given / "cat.png"), place(tmp_path), Rules())
    assert size == (80, 64)
    assert file.is_file()
    with Image.open(given / "cat.png") as opened:
        description = opened.getexif()[0x010E]
    assert "<script>" in description
    assert facts == ("80×64 pixels, PNG, 8 bits a channel", "kept: EXIF", f"description: {description}", "camera: <b>camera</b>")
    assert work.look(uploaded(given / "deep.png"), place(tmp_path), Rules())[2] == ("80×64 pixels, PNG, 16 bits a channel",)


def bomb() -> bytes:
    """A PNG file of some hundred bytes that says it has 30 000 × 30 000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")


def saved(form: str, size: tuple[int, int] = (8, 8), colour: str = "red", **more: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, form, **more)
    return stream.getvalue()


HOSTILE = {
    "empty.png": (b"", "empty.png: the file is empty"),
    "text.png": (b"hello, I am no picture", "text.png: not an image that can be read here"),
    "page.png": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "page.png: not an image"),
    "cut.png": (saved("PNG", (64, 64))[:90], "cut.png: damaged or incomplete image"),
    "cut.jpg": (saved("JPEG", (64, 64))[:-200], "cut.jpg: damaged or incomplete image"),
    "bomb.png": (bomb(), "bomb.png: "),
    "large.png": (saved("PNG", (2000, 600)), "large.png: 2000×600 pixels; this page takes 1 megapixels at most"),
    "film.webp": (saved("WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]), "film.webp: 2 pages or frames"),
    "<img src=x onerror=alert(1)>.png": (b"x", "<img src=x onerror=alert(1)>.png: not an image"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures_are_refused_in_words_that_name_the_person_s_file(
    offers: dict[str, forms.Offer], tmp_path: Path, name: str
) -> None:
    data, said = HOSTILE[name]
    stored = tmp_path / "stored.png"
    stored.write_bytes(data)
    for attempt in (
        lambda: work.restore(Wish(Upload(stored, name), offers["core/identity"]), place(tmp_path), Rules(pixels=1_000_000)),
        lambda: work.look(Upload(stored, name), place(tmp_path), Rules(pixels=1_000_000)),
    ):
        with pytest.raises(UserError) as refusal:
            attempt()
        assert said in str(refusal.value)
        assert str(tmp_path) not in str(refusal.value)
        assert "Traceback" not in str(refusal.value)
    assert list(place(tmp_path).iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "method", "name", "data", "said"),
    [
        ("psf", "core/wiener", "psf.npz", b"x", "psf.npz: an archive"),
        ("psf", "core/wiener", "psf.npy", b"x", "psf.npy: not a whole NumPy file"),
        ("psf", "core/wiener", "psf.npy", pickle.dumps([1]), "psf.npy: not a whole NumPy file"),
        ("psf", "core/wiener", "psf.png", saved("PNG", (2000, 600)), "psf.png: 2000×600 pixels"),
        ("mask", "core/biharmonic-inpaint", "m.png", saved("PNG", colour="white"), "the mask is 8×8, the image 80×64"),
        ("mask", "core/biharmonic-inpaint", "m.png", saved("PNG"), "m.png: marks nothing"),
        ("mask", "core/biharmonic-inpaint", "m.png", bomb(), "m.png: "),
        ("references", "style/gatys", "r.png", saved("PNG", (2000, 600)), "r.png: 2000×600 pixels"),
        ("model", forms.OWN_MODEL, "m.pth", pickle.dumps([1]), "m.pth: a model file ends in .safetensors"),
        ("model", forms.OWN_MODEL, "m.yaml", b"part: core/identity", "m.yaml: a model file ends in .safetensors"),
        ("model", forms.OWN_MODEL, "m.safetensors", pickle.dumps([1]), "m.safetensors: not a model file"),
        ("model", forms.OWN_MODEL, "m.safetensors", b"", "m.safetensors: not a model file"),
        ("model", forms.OWN_MODEL, "m.safetensors", struct.pack("<Q", 1 << 60) + b"{}", "m.safetensors: not a model file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_companions_are_refused(
    offers: dict[str, forms.Offer], given: Path, tmp_path: Path, kind: str, method: str, name: str, data: bytes, said: str
) -> None:
    stored = tmp_path / f"stored{Path(name).suffix}"
    stored.write_bytes(data)
    upload = Upload(stored, name)
    wish = Wish(uploaded(given / "cat.png"), offers[method], **{kind: (upload,) if kind == "references" else upload})
    with pytest.raises(UserError) as refusal:
        work.restore(wish, place(tmp_path), Rules(device="cpu", pixels=1_000_000))
    assert said in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_a_pickle_in_an_archive_is_not_opened(given: Path, tmp_path: Path, offers: dict[str, forms.Offer]) -> None:
    touched = tmp_path / "touched"

    class Touch:
        def __reduce__(self) -> Any:
            return Path.touch, (touched,)

    stored = tmp_path / "m.safetensors"
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Touch()))
    wish = Wish(uploaded(given / "cat.png"), offers[forms.OWN_MODEL], model=Upload(stored, stored.name))
    with pytest.raises(UserError, match="not a model file"):
        work.restore(wish, place(tmp_path), Rules(device="cpu"))
    assert not touched.exists()


def test_an_uploaded_model_restores_and_one_that_names_files_does_not(given: Path, tmp_path: Path, offers: dict[str, forms.Offer]) -> None:
    registry = discovery.registry()
    spec = {"part": "deblurgan/resnet9", "width": 4, "blocks": 1}
    generator = registry.create("generator", spec["part"], width=4, blocks=1)
    file = Model(generator.eval(), recipes.Recipe({"generator": spec})).save(given / "mine.safetensors")
    wish = Wish(uploaded(given / "cat.png"), offers[forms.OWN_MODEL], model=uploaded(file))
    done = work.restore(wish, place(tmp_path), Rules(device="cpu"))
    target = tmp_path / "line.png"
    assert main(["restore", str(given / "cat.png"), "-o", str(target), "--with", str(file), "--device", "cpu"]) == 0
    assert target.read_bytes() == done.file.read_bytes()
    hostile = {"part": "deblurgan/fpn", "weights": str(given / "psf.npy")}
    file = Model(generator, recipes.Recipe({"generator": hostile})).save(given / "hostile.safetensors")
    wish = Wish(uploaded(given / "cat.png"), offers[forms.OWN_MODEL], model=uploaded(file))
    with pytest.raises(UserError, match="names a file of this machine"):
        work.restore(wish, place(tmp_path), Rules(device="cpu"))


def test_what_is_missing_is_said_as_on_the_command_line(given: Path, tmp_path: Path, offers: dict[str, forms.Offer]) -> None:
    for method, said in (("core/wiener", "this method needs the psf"), (forms.OWN_MODEL, "drop one below it")):
        with pytest.raises(UserError, match=said):
            work.restore(Wish(uploaded(given / "cat.png"), offers[method]), place(tmp_path), Rules(device="cpu"))
    wish = Wish(uploaded(given / "cat.png"), offers["core/tv-denoise"], {"weight": -1, "iterations": 0})
    with pytest.raises(UserError) as refusal:
        work.restore(wish, place(tmp_path), Rules(device="cpu"))
    assert "weight: got -1; expected float > 0 or null" in str(refusal.value)
    assert "iterations: got 0; expected int >= 1" in str(refusal.value)


def test_a_method_that_iterates_tells_its_steps_and_stops_when_told(
    given: Path, tmp_path: Path, offers: dict[str, forms.Offer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restorekit_style.fill.default_features", RandomFilters)
    steps: list[tuple[int, int]] = []

    def listener(progress: Any) -> bool:
        steps.append((progress.step, progress.steps))
        return len(steps) < 3

    wish = Wish(uploaded(given / "cat.png"), offers["style/texture-fill"], {"steps": 50}, mask=uploaded(given / "hole.png"))
    done = work.restore(wish, place(tmp_path), Rules(device="cpu"), listener)
    assert done.file.is_file()
    assert steps == [(1, 50), (2, 50), (3, 50)]


def test_the_example_can_be_restored(tmp_path: Path) -> None:
    file = work.example(tmp_path)
    assert photos.read(file).image.shape == (1, 3, 400, 600)
