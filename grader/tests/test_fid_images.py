"""Reading folders of images, and finding duplicates and copies in them."""

import numpy as np
import pytest
from fid_samples import make_images, save_pixels
from PIL import Image

from grader.fid.audit import audit
from grader.fid.images import NotMeasurable, decode, open_folder, pictures

RNG = np.random.default_rng(0)


def noise(count, side=64):
    return RNG.integers(0, 256, size=(count, side, side, 3), dtype=np.uint8)


def test_images_come_in_the_order_of_their_names_and_other_files_do_not_count(tmp_path):
    save_pixels(tmp_path, noise(3))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "00001.png").rename(tmp_path / "9.PNG")
    folder = open_folder(tmp_path, "generated")
    assert [file.name for file in folder.files] == ["00000.png", "00002.png", "9.PNG"]


def test_a_folder_is_known_by_its_contents(tmp_path):
    images = noise(3)
    one, same = save_pixels(tmp_path / "one", images), save_pixels(tmp_path / "same", images)
    other = save_pixels(tmp_path / "other", images[::-1])
    digests = [open_folder(path, "generated").digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_the_layout_of_afhq_is_read_and_images_beside_images_are_counted(tmp_path):
    for kind in ("cat", "dog", "wild"):
        save_pixels(tmp_path / kind, noise(2))
    assert len(open_folder(tmp_path, "reference").files) == 6
    save_pixels(tmp_path, noise(2))
    folder = open_folder(tmp_path, "reference")
    assert (len(folder.files), folder.left_out) == (2, 6)


def test_pixels_are_those_of_pytorch_fid_and_the_mode_is_kept(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "grey.png")
    picture = decode(tmp_path / "grey.png")
    assert (picture.pixels.shape, picture.mode) == ((8, 8, 3), "L")
    assert np.array_equal(picture.pixels, np.asarray(Image.open(tmp_path / "grey.png").convert("RGB")))


def test_a_missing_an_empty_and_a_lonely_folder_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    save_pixels(tmp_path / "one", noise(1))
    (tmp_path / "file").write_text("")
    how = "\ndraw images with: python sampling.py --ckpt_path CKPT --save_dir DIR"
    kinds = ".bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp"
    for name, text in {
        "absent": f"no such folder of generated images: {tmp_path / 'absent'}{how}",
        "file": f"{tmp_path / 'file'} is a file; a folder of generated images is needed{how}",
        "empty": f"no generated images in {tmp_path / 'empty'} (looked for {kinds}){how}",
        "one": f"only one generated image in {tmp_path / 'one'}: a covariance needs at least two{how}",
    }.items():
        with pytest.raises(NotMeasurable) as caught:
            open_folder(tmp_path / name, "generated")
        assert str(caught.value) == text
    with pytest.raises(NotMeasurable, match=r"prepare the evaluation images with: python dataset\.py"):
        open_folder(tmp_path / "absent", "reference")


@pytest.mark.parametrize("content", ["text", "cut", "empty", "postscript"])
def test_a_broken_image_is_named(tmp_path, content):
    save_pixels(tmp_path, noise(3))
    broken = tmp_path / "00001.png"
    whole = broken.read_bytes()
    broken.write_bytes(
        {
            "text": b"not an image",
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        }[content]
    )
    with pytest.raises(NotMeasurable) as caught:
        list(pictures(open_folder(tmp_path, "generated")))
    assert str(caught.value).startswith(f"{broken} cannot be read as an image: ")
    assert str(caught.value).endswith("or take it out of the folder (the count then says so)")


def test_an_image_that_claims_a_huge_size_is_not_decoded(tmp_path):
    Image.new("1", (5000, 2)).save(tmp_path / "wide.png")
    with pytest.raises(NotMeasurable, match="is 5000x2; no side may exceed 4096 pixels"):
        decode(tmp_path / "wide.png")


# --- copies


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """120 coloured-noise images (N, 64, 64, 3), whose neighbours are as far as those of photos."""
    folder = tmp_path_factory.mktemp("real")
    make_images(folder, 120, seed=3, falloff=1.2)
    return np.stack([decode(file).pixels for file in sorted(folder.iterdir())])


def found(images, reference, ratio=0.5):
    def thumbs(pixels):
        return np.stack([np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BOX)) for each in pixels])

    def flat(pixels):  # stands in for features
        return pixels[:, ::8, ::8].reshape(len(pixels), -1).astype(np.float32)

    digests = np.stack([np.frombuffer(each.tobytes()[:32].ljust(32), np.uint8) for each in images])
    return audit(digests, thumbs(images), flat(images), thumbs(reference), flat(reference), ratio)


def disguised(images, how):
    if how == "mirrored":
        return images[:, :, ::-1].copy()
    if how == "noise":
        return np.clip(images.astype(int) + RNG.integers(-8, 9, images.shape), 0, 255).astype(np.uint8)
    if how == "brighter":
        return np.clip(images.astype(int) + 6, 0, 255).astype(np.uint8)
    if how == "resized":
        return np.stack([np.asarray(Image.fromarray(each).resize((40, 40)).resize((64, 64))) for each in images])
    return images


@pytest.mark.parametrize("how", ["as they are", "mirrored", "noise", "brighter", "resized"])
def test_copies_are_found_in_disguise(real, how):
    copies = found(np.concatenate([disguised(real[100:110], how), real[:20]]), real[20:]).copies
    assert [(copy.image, copy.of) for copy in copies] == [(i, 80 + i) for i in range(10)]


def test_new_images_and_averages_of_real_ones_are_no_copies(real):
    assert found(real[:60], real[60:]).copies == ()
    blurred = ((real[:20].astype(int) + real[20:40] + real[40:60]) // 3).astype(np.uint8)
    assert found(blurred, real[:60]).copies == ()


def test_exact_and_near_duplicates_are_told_apart(real):
    images = real[[0, 1, 2, 1, 1, 3]].copy()
    images[4] = disguised(images[4:5], "noise")[0]
    outcome = found(images, real[60:])
    assert (outcome.duplicates, outcome.near_duplicates) == ((3,), (4,))


def test_without_reference_images_only_duplicates_are_looked_for(real):
    images = real[[0, 1, 1]]
    digests = np.array([[0], [1], [1]], np.uint8)
    outcome = audit(digests, images[:, ::2, ::2], np.zeros((3, 4)), None, None, 0.5)
    assert (outcome.duplicates, outcome.copies) == ((2,), ())
