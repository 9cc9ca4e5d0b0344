"""Figures of hand-made answers: ensembles, temperatures, seeds and folds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from helpers.measured import CONFIGURATION, answers, make_row, posteriors_of, write
from ser_live import SerError
from ser_train.cross_validation.measurement import figures_of
from ser_train.metrics import fit_temperature, with_temperature
from ser_train.reports.cross_validation import headline, repeat_command, report_page, summarise


def test_the_other_folds_of_a_seed_set_the_temperature(tmp_path: Path) -> None:
    loud = {}
    for fold, sharpness in enumerate((2.0, 2.0, 0.5)):
        probabilities, truth = answers(1500, fold)
        loud[0, fold] = posteriors_of(fold, with_temperature(probabilities, 1 / sharpness), truth)
    first, second, third = (
        fold.temperatures[0] for fold in write(tmp_path / "a", loud, total=3).per_fold
    )
    assert third == pytest.approx(2.0, rel=0.08)
    assert 0.6 < first < 1.6
    assert 0.6 < second < 1.6
    own = {"temperature": 1.5, "validation_speakers": ("x",)}
    held_out = write(tmp_path / "b", loud, total=3, **own)
    assert [fold.temperatures for fold in held_out.per_fold] == [(first,), (second,), (third,)]
    alone = write(tmp_path / "c", {(0, 0): loud[0, 0]}, total=3, **own)
    assert alone.per_fold[0].temperatures == (1.5,)


def test_a_single_fold_is_uncalibrated_and_says_so(tmp_path: Path) -> None:
    single = write(tmp_path, {(0, 2): posteriors_of(2, *answers(50))}, total=10)
    assert single.per_fold[0].temperatures == (1.0,)
    assert single.single.uar.interval is None
    assert "Uncalibrated: without other folds" in "\n".join(report_page(single, "x", ()))
    assert headline(single)[0].startswith("1 of 10 folds, seed 0, 50 clips")


@pytest.mark.usefixtures("no_pictures")
def test_seeds_have_a_spread_and_an_ensemble(tmp_path: Path) -> None:
    folds = {}
    for seed in range(3):
        for fold in range(2):
            probabilities, truth = answers(400, fold)
            noise = np.random.default_rng((seed, fold)).dirichlet([0.5] * 4, 400)
            folds[seed, fold] = posteriors_of(fold, 0.5 * probabilities + 0.5 * noise, truth)
    folds[3, 0] = folds[0, 0]
    measured = write(tmp_path, folds, total=2)
    assert (measured.seeds, measured.left_out) == ((0, 1, 2), (3,))
    assert measured.single.uar.sd == pytest.approx(np.std(measured.single.uar.seeds, ddof=1))
    assert measured.together is not None
    assert measured.together.wa.mean > max(measured.single.wa.seeds)
    assert measured.ensemble is not None
    mean = np.mean([one.raw for one in measured.pools], axis=0)
    np.testing.assert_allclose(measured.ensemble.raw, mean)
    for fold, temperature in measured.ensemble.temperatures.items():
        own = measured.ensemble.folds == fold
        others = mean[0, ~own], measured.ensemble.truth[~own]
        assert temperature == pytest.approx(fit_temperature([others]), abs=1e-4)
        tempered = with_temperature(mean[:, own], temperature)
        np.testing.assert_allclose(measured.ensemble.probabilities[:, own], tempered)
    # The mean of several is less sure than each of them, so it wants a temperature of its own.
    of_one = measured.pools[0].temperatures.values()
    assert max(measured.ensemble.temperatures.values()) < min(of_one)
    assert measured.together.nll.mean < figures_of([measured.ensemble.untempered], 0).nll.mean
    summarise(tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "**ensemble of the 3 seeds**" in text
    assert "Not finished and left out: seed 3." in text
    assert "--seeds 3 " in repeat_command(measured, "x")


@pytest.mark.parametrize(("speakers", "is_known"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_speakers_have_no_interval(
    speakers: int, is_known: bool, tmp_path: Path
) -> None:
    folds = {(0, fold): posteriors_of(fold, *answers(40, fold)) for fold in range(speakers)}
    single = write(tmp_path, folds, total=speakers).single
    assert (single.uar.interval is not None, single.wa.interval is not None) == (is_known,) * 2


@pytest.mark.parametrize(
    ("commits", "said"),
    [
        (("a" * 40, "a" * 40), None),
        (("a" * 40, "b" * 40), f"Several states of the code**: {'a' * 40}, {'b' * 40}."),
        (
            ("a" * 40, f"{'a' * 40}-dirty"),
            f"Several states of the code**: {'a' * 40}, {'a' * 40} with",
        ),
        ((f"{'a' * 40}-dirty",) * 2, f"State of the code**: {'a' * 40} with changes in no commit."),
        ((None, "a" * 40), f"Several states of the code**: not recorded, {'a' * 40}."),
    ],
)
def test_the_first_line_says_that_figures_are_not_of_one_commit(
    commits: tuple[str | None, ...], said: str | None, tmp_path: Path
) -> None:
    for fold, commit in enumerate(commits):
        folds = {(0, fold): posteriors_of(fold, *answers(10, fold))}
        measured = write(tmp_path, folds, total=2, commit=commit)
    first = [text for text in report_page(measured, "x", ()) if text][1]
    assert ("of the code**: " in first) == (said is not None)
    assert (said or "") in first


def test_a_report_says_what_the_recipe_was_chosen_on(tmp_path: Path) -> None:
    folds = {(0, 0): posteriors_of(0, *answers(10))}
    for network, words in (("emotion-tcn+emotion-tcn", "RAVDESS actors 2, 5, 11,"), ("tiny", "")):
        configuration = dataclasses.replace(CONFIGURATION, network=network)
        measured = write(tmp_path / network, folds, total=2, configuration=configuration)
        assert words in measured.words
        assert ("chosen on" in measured.words) == bool(words)
        assert ("chosen on" in "\n".join(report_page(measured, "x", ()))) == bool(words)


def test_the_other_folds_of_a_seed_say_what_is_sure(tmp_path: Path) -> None:
    """Four of five answers reach the threshold that a fold like this one sets."""
    confidences = (np.linspace(0.3, 0.55, 101), np.linspace(0.4, 0.65, 101))
    folds = {}
    for fold, confidence in enumerate(confidences):
        rest = (1 - confidence) / 3
        shares = np.stack([confidence, rest, rest, rest], axis=1)
        folds[0, fold] = posteriors_of(fold, shares, np.where(confidence > 0.5, 0, 1))
    (pool,) = write(tmp_path, folds, total=2).pools
    found = figures_of([pool.untempered], 0)
    threshold = np.where(pool.folds == 0, 0.45, 0.35)  # a fifth of the other fold is below
    is_sure = pool.raw[0].max(axis=1) >= threshold
    assert found.coverage.mean == pytest.approx(is_sure.mean(), abs=0.01)
    assert found.wa_of_sure.mean == pytest.approx((pool.truth == 0)[is_sure].mean(), abs=0.02)


def test_answers_among_fewer_labels(tmp_path: Path) -> None:
    probabilities = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.6, 0.2, 0.1]])
    posteriors = posteriors_of(0, probabilities, np.array([1, 1]))
    (one,) = write(tmp_path, {(0, 0): posteriors}, total=1).pools
    among = one.restricted(("neutral", "happy"))
    np.testing.assert_allclose(among.probabilities[0], [[1 / 3, 2 / 3], [1 / 7, 6 / 7]], rtol=0.002)
    assert figures_of([one], 0).wa.mean == 0.5
    assert figures_of([among], 0).wa.mean == 1.0


def test_a_clip_that_two_folds_test_is_refused(tmp_path: Path) -> None:
    same = posteriors_of(0, *answers(5))
    with pytest.raises(SerError, match=r"emodb/0-0.wav was tested in two folds of seed 0"):
        write(tmp_path, {(0, 0): same, (0, 1): same}, total=2)


def test_rows_of_two_settings_have_no_common_figure(tmp_path: Path) -> None:
    write(tmp_path, {(0, 0): posteriors_of(0, *answers(5))}, total=2)
    other = dataclasses.replace(CONFIGURATION, network="other", protocol="emodb-loso")
    with pytest.raises(SerError, match="rows with network other, wanted tiny"):
        write(tmp_path, {(0, 1): posteriors_of(1, *answers(5))}, total=2, configuration=other)


def test_seeds_that_heard_different_lengths_are_compared_by_what_both_heard(tmp_path: Path) -> None:
    probabilities, truth = answers(30)
    more = posteriors_of(0, probabilities, truth)
    less = dataclasses.replace(more, heard=("1",), probabilities=more.probabilities[:1])
    measured = write(tmp_path, {(0, 0): more, (1, 0): less}, total=1)
    assert measured.pools[0].heard == measured.pools[1].heard == ("1",)
    assert measured.single.uar.sd == 0.0


def test_the_epochs_of_an_ensemble_are_those_of_each_member(tmp_path: Path) -> None:
    """Its row holds the records of all members, one after the other."""
    history = make_row().history * 3
    measured = write(tmp_path, {(0, 2): posteriors_of(2, *answers(50))}, total=10, history=history)
    assert "2 epochs of 4 clips a batch, last epoch." in "\n".join(report_page(measured, "x", ()))
