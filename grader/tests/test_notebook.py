"""The tutorial notebook: valid for nbgrader, without points of its own, and it runs from top to bottom."""

import shutil

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.utils import compute_checksum

from grader.lab.release import ROOT
from grader.tests.clock import cpu_seconds

NOTEBOOK = "2d_plot_diffusion_todo/ddpm_tutorial.ipynb"
EDITIONS = ["solutions", "."]


def read(edition):
    return nbformat.read(ROOT / edition / NOTEBOOK, as_version=4)


def nbgrader_cells(notebook):
    return {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_notebook_is_valid_and_holds_no_outputs(edition):
    notebook = read(edition)
    nbformat.validate(notebook)
    validator = MetadataValidator()
    for cell in notebook.cells:
        validator.validate_cell(cell)
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_the_kinds_of_cells_are_those_that_nbgrader_grades():
    cells = nbgrader_cells(read("solutions"))
    metas = {name: cell.metadata.nbgrader for name, cell in cells.items()}
    flags = {name: (meta.grade, meta.solution) for name, meta in metas.items()}
    assert {name for name, kind in flags.items() if kind == (False, True)} == {"forward-strip", "training"}
    assert {name for name, kind in flags.items() if kind == (True, False)} == {
        "forward-test",
        "training-test",
        "evaluation-test",
    }
    assert {name for name, kind in flags.items() if kind == (True, True)} == {"in-your-own-words"}
    assert sum(meta.get("points", 0) for meta in metas.values()) == 0  # the rubric has them all


def test_the_released_notebook_is_cleared_locked_and_summed():
    cells = nbgrader_cells(read("."))
    assert "NotImplementedError" in cells["forward-strip"].source
    assert "NotImplementedError" in cells["training"].source
    assert cells["in-your-own-words"].source.strip() == "YOUR ANSWER HERE"
    for name, cell in cells.items():
        meta = cell.metadata.nbgrader
        assert "HIDDEN" not in cell.source
        if meta.grade or meta.solution:
            assert meta.checksum == compute_checksum(cell), name
        if not meta.solution:
            assert cell.metadata.deletable is False, name
            assert cell.metadata.editable is False, name


@pytest.mark.slow
def test_the_solved_notebook_runs_in_under_two_minutes_and_learns_the_roll(tmp_path):
    from nbclient import NotebookClient

    shutil.copytree(ROOT / "solutions" / "2d_plot_diffusion_todo", tmp_path / "half")
    notebook = nbformat.read(tmp_path / "half" / "ddpm_tutorial.ipynb", as_version=4)
    began = cpu_seconds()
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path / "half")}})
    client.execute()
    assert 1 < cpu_seconds() - began < 120  # the kernel's
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 4  # data, strip, loss curve, samples
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    chamfer = float(printed.split("samples from the model:")[1].split()[0])
    assert chamfer < 25  # 8.3 to 17.3 in 40 readings over 20 seeds, median 11.5; pure noise gets 1450
