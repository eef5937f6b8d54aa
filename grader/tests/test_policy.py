"""An instructor's policy: values are checked where they are read, and errors name file, key, value, what is allowed."""

import pytest

from grader import cli
from grader.errors import UsageError
from grader.lab import LAB
from grader.lab.policy import Variance


@pytest.fixture
def policy(tmp_path):
    """Writes a policy file and reads it."""

    def read(text):
        path = tmp_path / "course.toml"
        path.write_text(text, encoding="utf-8")
        return LAB.policy(path)

    return read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[limits]\nprobe_s = "4"', 'limits.probe_s = "4": input should be a valid number'),
        ("[limits]\nprocesses = -3", "limits.processes = -3: input should be greater than or equal to 2"),
        ("[limits]\nimport_s = inf", "limits.import_s = inf: input should be a finite number"),
        ("[limits]\nimport_s = nan", "limits.import_s = nan: input should be a finite number"),
        ("[limits]\ncpu_s = 4.5", "limits.cpu_s = 4.5: input should be a valid integer"),
        ("[limits]\nfile_mib = true", "limits.file_mib = true: input should be a valid integer"),
        ("limits = 3", "limits = 3, but [limits] is a section: import_s, probe_s"),
        ("[cosine]\nclips = []", "cosine.clips = []: tuple should have at least 1 item"),
        ("[cosine]\nclips = 0.999", "cosine.clips = 0.999: input should be a valid tuple"),
        ("[cosine]\nclips = [1.5]", "cosine.clips.0 = 1.5: input should be less than or equal to 1"),
        (
            '[reverse_step]\nvariances = ["gamma"]',
            "reverse_step.variances.0 = \"gamma\": input should be 'posterior' or 'beta'",
        ),
        ("[reverse_step]\nvariances = []", "reverse_step.variances = []: tuple should have at least 1 item"),
        ("[training]\nloss_range = [0.4, 0.2]", "training: loss_range = [0.4, 0.2]: the lower limit comes first"),
        ("[fid]\nthresholds = [20, 15]\npoints = [2, 1]", "fid.thresholds = [20, 15]: thresholds have to rise"),
        ("[fid]\npoints = [20]", "fid: points = [20.0]: one for each of the 4 thresholds is needed"),
        ("[fids]\npoints = [20]", "unknown section [fids]; known are reverse_step, cosine, training, fid"),
        ("[fid]\nthreshold = 3", "unknown key fid.threshold; known are thresholds, points"),
        ("[fid", "cannot read the policy"),
    ],
)
def test_what_is_not_allowed_is_named(policy, tmp_path, text, said):
    with pytest.raises(UsageError) as error:
        policy(text)
    assert str(tmp_path / "course.toml") in str(error.value)
    assert said in str(error.value)


def test_every_wrong_value_is_told_at_once(policy):
    with pytest.raises(UsageError) as error:
        policy('[limits]\nprobe_s = "4"\nprocesses = -3\n')
    assert len(str(error.value).splitlines()) == 2


def test_what_a_file_leaves_out_keeps_the_shipped_value(policy):
    found = policy('[reverse_step]\nvariances = ["posterior", "beta"]\n[limits]\nprobe_s = 5\n')
    assert found.reverse_step.variances == (Variance.POSTERIOR, Variance.BETA)
    assert found.limits.probe_s == 5.0
    assert found.limits.import_s == LAB.policy().limits.import_s
    assert found.digest != LAB.policy().digest


def test_the_command_line_refuses_with_the_key_before_anything_is_graded(tmp_path, capsys):
    (tmp_path / "course.toml").write_text("[limits]\nprocesses = -3\n")
    command = ["grade", str(tmp_path), "--out", str(tmp_path / "out"), "--policy", str(tmp_path / "course.toml")]
    assert cli.main(command) == cli.USAGE
    assert "course.toml: limits.processes = -3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
