"""A blend as a whole: the means by hand, the form byte for byte, and fitted weights that are worth their name."""

import numpy as np
import pytest
from scipy.stats import gmean
from sklearn.metrics import log_loss as sklearn_log_loss

from automl_car.ensemble.blending import blend, stratified_splits
from automl_car.ensemble.predictions import read_predictions
from automl_car.ensemble.scorer import score_submission
from automl_car.errors import ConfigError, DataError

A, B = [[0.5, 0.5], [0.9, 0.1]], [[0.25, 0.75], [0.1, 0.9]]
FLOOR = 1e-6  # of the uniform distribution is mixed in


class Folder:
    """A folder of prediction files, and the blend of them."""

    def __init__(self, path):
        self.path = path / "predictions"
        self.path.mkdir()
        self.output = path / "blend.csv"
        self.notes = []

    def put(self, name, values, ids=None, columns=None):
        values = np.asarray(values, dtype=float)
        ids = ids or [f"T{row}" for row in range(len(values))]
        columns = columns or [f"c{column}" for column in range(values.shape[1])]
        rows = [",".join([row, *map(repr, line)]) for row, line in zip(ids, values.tolist(), strict=True)]
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text("\n".join([",".join(["ID", *columns]), *rows, ""]), encoding="utf-8")
        return self

    def blend(self, **options):
        return blend(self.path, output=self.output, note=self.notes.append, **options)

    @property
    def values(self):
        return read_predictions(self.output).values


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


# ---- means ----------------------------------------------------------------------------------------------------------


def test_without_weights_the_files_count_alike(folder):
    done = folder.put("a.csv", A).put("b.csv", B).blend()
    assert (done.weighting, done.pool, done.weights) == ("uniform", "arithmetic", {"a": 0.5, "b": 0.5})
    assert folder.values == pytest.approx(np.array([[0.375, 0.625], [0.5, 0.5]]), abs=FLOOR)


def test_weights_that_are_given_are_those_of_the_mean(folder):
    done = folder.put("a.csv", A).put("b.csv", B).put("c.csv", B).blend(weights="a=3,b=1")
    assert (done.weighting, done.weights) == ("given", {"a": 0.75, "b": 0.25})
    assert folder.values == pytest.approx(np.array([[0.4375, 0.5625], [0.7, 0.3]]), abs=FLOOR)
    assert "left out" in folder.notes[0]


def test_a_geometric_mean_is_one(folder):
    folder.put("a.csv", A).put("b.csv", B).blend(pool="geometric")
    expected = gmean([A, B], axis=0)
    assert folder.values == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=FLOOR)


@pytest.mark.parametrize("pool", ["arithmetic", "geometric"])
def test_no_class_gets_nothing(folder, pool):
    folder.put("a.csv", [[1, 0, 0]]).put("b.csv", [[0.5, 0.5, 0]]).blend(pool=pool)
    assert folder.values.min() > 1e-7
    assert folder.values[0, 1] > folder.values[0, 2]  # one member gave it something


def test_the_blend_of_one_file_is_that_file(folder):
    folder.put("a.csv", A).blend()
    assert folder.values == pytest.approx(np.array(A), abs=FLOOR)


def test_a_pool_that_is_none_is_refused(folder):
    with pytest.raises(ConfigError, match="--pool `mean` is wrong: write auto, arithmetic or geometric"):
        folder.put("a.csv", A).blend(pool="mean")


# ---- form -----------------------------------------------------------------------------------------------------------


def test_the_output_has_the_header_of_the_first_file_byte_for_byte_and_its_rows(folder):
    header = '\ufeff"id","=쏘나타",K5\r\n'
    (folder.path / "1.csv").write_bytes(f"{header}T_1,0.25,0.75\r\n007,0.5,0.5\r\n".encode())
    folder.put("2.csv", [[0.5, 0.5], [0.75, 0.25]], ids=["007", "T_1"], columns=["K5", "=쏘나타"]).blend()
    data = folder.output.read_bytes().decode()
    assert data.startswith(header)
    assert [line.partition(",")[0] for line in data.splitlines()[1:]] == ["T_1", "007"]
    assert data.count("\r\n") == data.count("\n") == 3
    assert folder.values == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]), abs=FLOOR)
    assert len(folder.notes) == 2


def test_rows_of_other_sums_count_as_much_as_the_others(folder):
    folder.put("a.csv", [[0.1, 0.3]]).put("b.csv", [[0.5, 0.5]]).blend()
    assert folder.values[0] == pytest.approx([0.375, 0.625], abs=FLOOR)
    assert "a.csv: 1 of 1 rows do not sum to 1" in folder.notes[0]


def test_a_class_with_two_columns_gets_its_mean_in_both(folder):
    folder.put("a.csv", [[0.9, 0.1, 0.9]]).put("b.csv", [[0.1, 0.9, 0.1]]).blend()
    assert folder.values[0] == pytest.approx([0.5, 0.5, 0.5], abs=FLOOR)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b.csv", "ID,c0,c9\nT0,1,0\nT1,1,0\n", "has 1 class columns that .*a.csv lacks .c9."),
        ("b.csv", "ID,c0,c1\nT0,1,0\nT1,nan,0\n", "1 values in .*b.csv .* nan, of id 'T1' in column 'c0'"),
        ("b.csv", "ID,c0,c1\nT0,1,0\nT1,0,0\n", "1 rows of .*b.csv have 0 in every column: T1"),
        ("test.csv", "ID,img_path\nT0,./test/T0.jpg\n", "not a number"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_an_older_blend_stays(folder, name, text, message):
    folder.output.write_text("old")
    (folder.put("a.csv", A).path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        folder.blend()
    assert folder.output.read_text() == "old"


def test_an_output_that_cannot_be_written_is_named(folder):
    folder.put("a.csv", A)
    folder.output.write_text("a file, and no folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        blend(folder.path, output=folder.output / "blend.csv", note=print)


# ---- fitted ---------------------------------------------------------------------------------------------------------

ROWS, TESTS, CLASSES = 300, 60, 4
COLUMNS = [f"c{column}" for column in range(CLASSES)]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fill(folder, **noises):
    """Files of models with this much noise, over-confident by a factor of 3, their out-of-fold files, and labels."""
    random = np.random.default_rng(0)
    truth = random.normal(scale=2.0, size=(ROWS + TESTS, CLASSES))
    labels = (truth + random.gumbel(size=truth.shape)).argmax(axis=1)
    for name, noise in noises.items():
        probabilities = softmax(3 * (truth + random.normal(scale=noise, size=truth.shape))).round(6)
        folder.put(f"{name}.csv", probabilities[ROWS:])
        folder.put(f"{name}.oof.csv", probabilities[:ROWS], ids=[f"P{row}" for row in range(ROWS)])
    lines = [f"P{row},c{label}" for row, label in enumerate(labels[:ROWS])]
    (folder.path / "labels.csv").write_text("\n".join(["ID,label", *lines, "P_other,c0", ""]))
    answers = [f"T{row},c{label}" for row, label in enumerate(labels[ROWS:])]
    (folder.path.parent / "answers.csv").write_text("\n".join(["ID,label", *answers, ""]))
    return labels[:ROWS]


@pytest.fixture
def fitted(folder):
    return folder, fill(folder, good=0.5, fair=0.8, useless=9.0)


def test_with_out_of_fold_files_and_labels_weights_are_fitted(fitted):
    folder, _ = fitted
    done = folder.blend()
    assert done.weighting == "fitted"
    assert sum(done.weights.values()) == pytest.approx(1)
    assert done.weights["good"] > done.weights.get("useless", 0)
    temperature = done.ensemble.temperature  # of the pool, on top of those of its members
    assert min(temperature * member.temperature for member in done.ensemble.members) > 1.5  # they are over-confident
    assert folder.notes == []


def test_the_log_loss_is_that_of_rows_that_their_weights_did_not_see(fitted):
    folder, labels = fitted
    ensemble = folder.blend().ensemble
    assert ensemble.nested_log_loss == pytest.approx(sklearn_log_loss(labels, ensemble.oof_probabilities))
    assert ensemble.nested_log_loss > ensemble.log_loss


def test_a_fitted_blend_is_better_than_a_uniform_one_where_it_counts(fitted):
    folder, _ = fitted
    scores = []
    for options in ({}, {"weights": "good=1,fair=1,useless=1"}):
        folder.blend(**options)
        scores.append(score_submission(folder.output, folder.path.parent / "answers.csv").log_loss)
    assert scores[0] < 0.8 * scores[1]


@pytest.mark.parametrize("pool", ["arithmetic", "geometric"])
def test_only_the_mean_that_is_asked_for_is_fitted(folder, pool):
    fill(folder, good=0.5, fair=0.5)
    done = folder.blend(pool=pool)
    assert (done.pool, len(done.weights)) == (pool, 2)


def test_out_of_fold_rows_of_another_order_change_nothing(fitted):
    folder, _ = fitted
    before = folder.blend().weights
    lines = (folder.path / "good.oof.csv").read_text().splitlines()
    (folder.path / "good.oof.csv").write_text("\n".join([lines[0], *lines[:0:-1], ""]))
    assert folder.blend().weights == before
    assert "good.oof.csv: the rows have another order" in folder.notes[0]


def test_weights_that_are_given_win_over_fitted_ones(fitted):
    folder, _ = fitted
    assert folder.blend(weights="fair=1").weights == {"fair": 1.0}
    assert "out-of-fold files are not used" in folder.notes[1]


def test_a_file_without_out_of_fold_predictions_is_named_and_nothing_is_fitted(fitted):
    folder, _ = fitted
    (folder.path / "fair.oof.csv").unlink()
    assert folder.blend().weighting == "uniform"
    assert folder.notes == ["nothing is fitted, because some files have no out-of-fold predictions: fair"]


def test_without_labels_nothing_is_fitted(fitted):
    folder, _ = fitted
    (folder.path / "labels.csv").unlink()
    assert folder.blend().weighting == "uniform"
    assert "labels of the out-of-fold rows are missing" in folder.notes[0]


def test_labels_without_out_of_fold_files_are_not_used(folder):
    folder.put("a.csv", A)
    (folder.path / "labels.csv").write_text("ID,label\nT0,c0\n")
    folder.blend()
    assert "labels.csv is not used" in folder.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P0,", "Q0,", r"has no label for 1 ids of .*fair\.oof\.csv: P0"),
        (",c2", ",c_2", r"1 labels in .*labels\.csv are no class column of .*fair\.oof\.csv: c_2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(fitted, old, new, message):
    folder, _ = fitted
    path = folder.path / "labels.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        folder.blend()


def test_labels_of_a_class_with_two_columns_may_use_either_name(folder):
    labels = fill(folder, good=0.5, fair=0.8)
    before = folder.blend().ensemble.nested_log_loss
    for path in folder.path.glob("*.csv"):
        if path.name == "labels.csv":
            path.write_text(path.read_text().replace(",c3\n", ",again\n", (labels == 3).sum() // 2))
        else:  # the last column, once more
            lines = path.read_text().splitlines()
            rows = [f"{line},{line.rpartition(',')[2]}" for line in lines[1:]]
            path.write_text("\n".join([f"{lines[0]},again", *rows, ""]))
    assert folder.blend().ensemble.nested_log_loss == pytest.approx(before)


def test_every_split_has_as_much_of_every_class():
    labels = np.repeat(np.arange(3), [50, 10, 5])
    counts = [np.bincount(labels[stratified_splits(labels) == split]).tolist() for split in range(5)]
    assert counts == [[10, 2, 1]] * 5
