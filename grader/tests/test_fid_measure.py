"""The whole measurement: number, points, flags, cache, and the command line as an instructor types it."""

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from fid_samples import make_images, save_pixels, small_weights
from PIL import Image

from grader.cli import main
from grader.errors import UsageError
from grader.fid import cache as cache_module
from grader.fid.extractor import Extractor
from grader.fid.frechet import frechet_distance, from_features, kernel_distance
from grader.fid.images import NotMeasurable, decode
from grader.fid.measure import measure
from grader.fid.record import Outcome, Trust, reached
from grader.fid.weights import FILE, seeded_inception
from grader.lab import LAB

POLICY = LAB.policy().fid
FEW = POLICY.model_copy(update={"images": 40, "replicates": 20})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """40 generated and 90 real images, and weights of the small Inception."""
    folder = tmp_path_factory.mktemp("fid")
    make_images(folder / "generated", 40, seed=1, falloff=1.8)
    make_images(folder / "real", 90, seed=2, falloff=1.1)
    small_weights(folder / "small.pt")
    return folder


@pytest.fixture
def run(world, tmp_path):
    def call(generated=None, reference=None, policy=FEW, **options):
        return measure(
            generated or world / "generated",
            reference or world / "real",
            world / "small.pt",
            policy,
            cache=options.pop("cache", world / "cache"),
            **options,
        )

    return call


@pytest.fixture
def verb(world):
    """The arguments of `fid` for the images of `world`, and more."""

    def arguments(*more, cache=None):
        folders = map(str, (world / "generated", world / "real"))
        return ["fid", *folders, "--weights", str(world / "small.pt"), "--cache", str(cache or world / "cache"), *more]

    return arguments


def of(report):
    return {flag.id: flag for flag in report.flags}


def test_the_report_holds_what_a_reader_needs(run, world):
    report = run()
    features = [
        Extractor.open(world / "small.pt").features(
            [decode(file).pixels for file in sorted((world / name).iterdir())], lambda done: None
        )[1]
        for name in ("generated", "real")
    ]
    assert report.fid == pytest.approx(frechet_distance(*map(from_features, features)), rel=1e-4)
    assert report.kid == pytest.approx(kernel_distance(*features), rel=1e-3)
    assert report.interval[0] < report.fid < report.interval[1]
    assert report.counts == {
        "generated": 40,
        "reference": 90,
        "training": 0,
        "duplicates": 0,
        "near_duplicates": 0,
        "copies": 0,
    }
    assert (report.extractor["name"], report.extractor["dims"]) == ("small-inception", 256)
    assert report.extractor["sha256"] == Extractor.open(world / "small.pt").digest
    assert report.reference["images"] == 90
    assert (report.trust, report.flags, report.needs_review) == (Trust.UNVERIFIED, (), False)
    assert report.fid > 1.5 * report.real_images_score


def test_the_json_round_trips_and_has_the_contracts_keys(run):
    record = json.loads(json.dumps(run().to_dict()))
    assert set(record) == {
        "fid",
        "interval",
        "kid",
        "points",
        "max",
        "points_if",
        "needs_review",
        "trust",
        "counts",
        "extractor",
        "resize",
        "reference",
        "fingerprint",
        "real_images_score",
        "flags",
        "confidence",
        "replicates",
    }
    assert len(record["interval"]) == 2


# --- points


@pytest.mark.parametrize(
    ("fid", "points"),
    [(0, 20), (14.999, 20), (15, 15), (19.999, 15), (20, 10), (29.999, 10), (30, 5), (39.999, 5), (40, 0), (400, 0)],
)
def test_points_follow_the_rubric(fid, points):
    assert [way.points for way in reached(POLICY, fid, fid)] == [points]


def test_an_interval_reaches_every_range_that_it_touches():
    assert reached(POLICY, 14, 21) == [Outcome(20, 0, 15), Outcome(15, 15, 20), Outcome(10, 20, 30)]
    assert reached(POLICY, 14, 15) == [Outcome(20, 0, 15), Outcome(15, 15, 20)]
    assert reached(POLICY, 35, 90)[-1] == Outcome(0, 40, None)


def test_a_straddled_threshold_is_not_tossed_for(run):
    fid = run().fid
    near = FEW.model_copy(update={"thresholds": (fid * 1.0001,), "points": (20.0,)})
    report = run(policy=near)
    assert report.needs_review
    assert [way.points for way in report.points_if] == [20, 0]
    assert report.points == 20
    assert "straddles a threshold of the rubric" in of(report)["interval"].message
    assert "20 of 20, which the interval leaves open: 20 below" in report.to_text()
    assert "; 0 at " in report.to_text()


def test_an_instructors_thresholds_count_and_broken_ones_are_refused(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text("[fid]\nthresholds = [50]\npoints = [12]\n")
    assert LAB.policy(file).fid.thresholds == (50.0,)
    for broken in (
        "thresholds = [20, 15]",
        "points = [20]",
        "replicates = 1",
        "confidence = 1",
        'points = "many"',
        'replicates = "some"',
    ):
        file.write_text(f"[fid]\n{broken}\n")
        with pytest.raises(UsageError, match=r"fid"):
            LAB.policy(file)


# --- images that must not earn points


def test_the_reference_itself_earns_nothing(run, world):
    report = run(world / "real")
    assert report.fid == pytest.approx(0, abs=1e-6)
    assert (report.points, report.needs_review, report.counts["copies"]) == (0, True, 90)
    assert {name: flag.severity for name, flag in of(report).items()} == {
        "count": "review",
        "copies": "withheld",
        "too-good": "withheld",
    }
    assert "0 of 20 (a person decides: see below)" in report.to_text()


def test_disguised_images_of_the_reference_earn_nothing(run, world, tmp_path):
    rng = np.random.default_rng(0)
    images = np.stack([decode(file).pixels for file in sorted((world / "real").iterdir())[:40]])
    images = np.clip(images[:, :, ::-1].astype(int) + rng.integers(-4, 5, images.shape), 0, 255).astype(np.uint8)
    report = run(save_pixels(tmp_path / "mirrored", images))
    assert (report.points, report.counts["copies"]) == (0, 40)
    assert of(report)["copies"].severity == "withheld"


def test_a_few_copies_are_a_note(run, world, tmp_path):
    shutil.copytree(world / "generated", tmp_path / "generated")
    shutil.copy(world / "real" / "00007.png", tmp_path / "generated" / "00000.png")
    lenient = FEW.model_copy(update={"copies": 0.03})
    flag = of(run(tmp_path / "generated", policy=lenient))["copies"]
    assert (flag.severity, flag.files) == ("note", ("00000.png",))


def test_copies_of_training_images_are_found_where_they_are_given(run, world, tmp_path):
    make_images(tmp_path / "training", 60, seed=9, falloff=1.1)
    shutil.copytree(tmp_path / "training", tmp_path / "copied")
    assert "copies" not in of(run(tmp_path / "copied"))
    report = run(tmp_path / "copied", training=tmp_path / "training")
    assert (report.points, report.counts["copies"], report.counts["training"]) == (0, 60, 60)


def test_other_real_images_are_reviewed_unless_the_training_images_are_known_to_be_others(run, tmp_path):
    make_images(tmp_path / "others", 40, seed=12, falloff=1.1)
    make_images(tmp_path / "training", 40, seed=13, falloff=1.1)
    report = run(tmp_path / "others")
    assert 1 / 3 < report.fid / report.real_images_score < 3  # one draw; few dimensions carry these random features
    assert {name: flag.severity for name, flag in of(report).items()} == {"like-real": "review"}
    known = run(tmp_path / "others", training=tmp_path / "training")
    assert {name: flag.severity for name, flag in of(known).items()} == {"like-real": "note"}


def test_repeated_images_are_counted_and_many_of_them_reviewed(run, world, tmp_path):
    shutil.copytree(world / "generated", tmp_path / "generated")
    for i in range(3):
        shutil.copy(tmp_path / "generated" / "00030.png", tmp_path / "generated" / f"0000{i}.png")
    report = run(tmp_path / "generated")
    flag = of(report)["duplicates"]
    assert (flag.severity, flag.files) == ("review", ("00001.png", "00002.png", "00030.png"))
    assert flag.message == "3 generated images equal an earlier one"


# --- images that are not as expected


def test_another_count_is_reviewed(run, world):
    report = run(policy=POLICY)
    assert of(report)["count"].message == (
        "40 generated images where 500 are expected: fewer images raise an FID, more lower it"
    )
    assert report.needs_review


def test_wrong_sizes_and_modes_are_said_with_the_files(run, world, tmp_path):
    shutil.copytree(world / "generated", tmp_path / "generated")
    Image.open(world / "generated" / "00000.png").resize((32, 32)).save(tmp_path / "generated" / "00000.png")
    Image.open(world / "generated" / "00001.png").convert("L").save(tmp_path / "generated" / "00001.png")
    flags = of(run(tmp_path / "generated"))
    assert flags["size"].message == (
        "1 generated images are not 64x64 but 32x32; they were not resized before the extractor's own resize"
    )
    assert flags["size"].files == ("00000.png",)
    assert flags["mode"].message == (
        "1 generated images are of mode L and were converted to RGB; the reference holds no such images"
    )
    assert flags["mode"].files == ("00001.png",)


def test_a_reference_of_another_size_is_said(run, tmp_path):
    save_pixels(tmp_path / "large", np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8))
    assert of(run(reference=tmp_path / "large"))["reference-size"].severity == "review"


def test_statistics_can_be_the_reference_and_say_what_cannot_be_seen(run, world, tmp_path):
    _, features = Extractor.open(world / "small.pt").features(
        [decode(file).pixels for file in sorted((world / "real").iterdir())], lambda done: None
    )
    np.savez(tmp_path / "real.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    report = run(reference=tmp_path / "real.npz")
    assert report.fid == pytest.approx(run().fid, rel=1e-4)
    assert (report.kid, report.reference["images"], report.needs_review) == (None, None, True)
    assert of(report)["unchecked"].severity == "review"
    assert "KID         needs reference images" in report.to_text()
    np.savez(tmp_path / "other.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(NotMeasurable, match=r"holds statistics of 3 features, the extractor small\.pt makes 256"):
        run(reference=tmp_path / "other.npz")


def test_the_fingerprint_names_extractor_and_reference_but_not_the_images(run, world, tmp_path):
    make_images(tmp_path / "others", 5, seed=5, falloff=1.0)
    other = small_weights(tmp_path / "other.pt", seed=1)
    base = run()
    assert run(tmp_path / "others").fingerprint == base.fingerprint
    assert run(reference=tmp_path / "others").fingerprint != base.fingerprint
    assert measure(world / "generated", world / "real", other, FEW, cache=tmp_path).fingerprint != base.fingerprint


# --- cache


def test_a_second_run_computes_no_features_and_says_the_same(run, tmp_path, monkeypatch):
    first = run(cache=tmp_path / "cache")
    monkeypatch.setattr(Extractor, "features", lambda *_: pytest.fail("features were computed again"))
    assert run(cache=tmp_path / "cache") == first


def test_changed_images_and_damaged_entries_are_measured_anew(run, world, tmp_path):
    shutil.copytree(world / "generated", tmp_path / "generated")
    first = run(tmp_path / "generated", cache=tmp_path / "cache")
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(entry.read_bytes()[:1000])
    assert run(tmp_path / "generated", cache=tmp_path / "cache") == first
    shutil.copy(world / "real" / "00001.png", tmp_path / "generated" / "00000.png")
    assert run(tmp_path / "generated", cache=tmp_path / "cache").fid != first.fid


def test_a_cache_that_cannot_be_written_costs_time_only(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(cache=tmp_path / "file" / "cache").fid == pytest.approx(run().fid, rel=1e-6)
    assert "warning: nothing is kept for the next run" in capsys.readouterr().err


def test_the_cache_forgets_its_oldest_entries(run, world, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "KEEP_BYTES", 600_000)  # 90 entries of the reference take some 380 kB
    run(cache=tmp_path / "cache")
    size = sum(entry.stat().st_size for entry in (tmp_path / "cache").iterdir())
    assert 0 < size <= 600_000
    assert all(entry.suffix == ".npz" for entry in (tmp_path / "cache").iterdir())


# --- command line


def test_the_verb_prints_one_json_object(verb, capsys):
    code = main(verb("--json"))
    record = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {
        "fid",
        "interval",
        "kid",
        "points",
        "counts",
        "extractor",
        "flags",
        "fingerprint",
        "resize",
        "reference",
        "points_if",
        "needs_review",
    } <= set(record)


def test_the_verb_prints_text_for_people(verb, capsys):
    assert main(verb()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12].strip() for line in lines[:9]] == [
        "FID",
        "KID",
        "points",
        "images",
        "extractor",
        "resize",
        "reference",
        "fingerprint",
        "trust",
    ]
    assert lines[0].split()[2:4] == ["95%", "interval"]
    assert lines[-1].startswith("review: 40 generated images where 500 are expected")


def test_mistakes_have_an_exit_code_and_a_message(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = ["--weights", str(world / "small.pt"), "--cache", str(tmp_path / "cache")]
    (tmp_path / "broken").mkdir()
    make_images(tmp_path / "broken", 3, seed=0, falloff=1)
    (tmp_path / "broken" / "00001.png").write_bytes(b"\x89PNG")
    for args, code, text in (
        (["absent", str(world / "real"), *weights], 1, "no such folder of generated images: absent"),
        ([str(world / "generated"), *weights], 1, "no such folder of reference images: data/afhq/eval"),
        (["broken", str(world / "real"), *weights], 1, "broken/00001.png cannot be read as an image"),
        ([str(world / "generated"), "stats.npz", *weights], 1, "no such file of reference statistics: stats.npz"),
        ([str(world / "generated"), str(world / "real"), "--weights", "absent.pt"], 2, "no such weights file"),
        ([str(world / "generated"), str(world / "real"), *weights, "--batch-size", "0"], 2, "--batch-size takes"),
    ):
        assert main(["fid", *args]) == code, text
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("ddpm-grader: error: ")
        assert text in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(verb, tmp_path, capsys):
    assert main(verb("--device", "cuda", cache=tmp_path)) == 2
    assert "--device cuda: torch finds no GPU here; leave the option out" in capsys.readouterr().err


def test_a_cached_run_and_help_import_no_torch(verb):
    main(verb())
    code = f"import sys; from grader.cli import main; main({verb()!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
def test_the_number_is_that_of_the_pytorch_fid_command(tmp_path, monkeypatch):
    """Seeded Inception, 2,048 features, fewer images than that; about a minute, most of it scipy's square root."""
    score = pytest.importorskip("pytorch_fid.fid_score")
    make_images(tmp_path / "generated", 20, seed=1, falloff=1.3)
    make_images(tmp_path / "real", 30, seed=2, falloff=1.1)
    state = seeded_inception(0)
    torch.save(state, tmp_path / FILE)
    monkeypatch.setattr("pytorch_fid.inception.load_state_dict_from_url", lambda url, progress: state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folders = [str(tmp_path / "generated"), str(tmp_path / "real")]
        expected = score.calculate_fid_given_paths(folders, 10, "cpu", 2048, 0)
    report = measure(tmp_path / "generated", tmp_path / "real", tmp_path / FILE, POLICY, cache=tmp_path / "cache")
    assert report.fid == pytest.approx(expected, rel=1e-3)
