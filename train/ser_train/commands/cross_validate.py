"""Measure a network by a protocol: run the folds that are missing, then report all of them."""

from collections.abc import Callable

from ser_train.cross_validation.plan import CrossValidation, make_plan
from ser_train.progress import Reporter


def cross_validate(
    job: CrossValidation, report: Reporter, before_training: Callable[[], None] = lambda: None
) -> tuple[str, ...]:
    """Run the folds that are not finished, then sum up all that are.

    Parameters
    ----------
    job : CrossValidation
    report : Reporter
    before_training : callable
        Called once, before TensorFlow is needed, and not at all if every fold is finished.

    Returns
    -------
    tuple of str
        The figures as lines of text; the report is in the folder.

    Raises
    ------
    SerError
        If the recordings do not fit the protocol, or the folder holds folds of other settings.
    """
    plan = make_plan(job)
    plan.ledger.require(plan.configuration)
    missing = plan.missing()
    if missing:
        before_training()
        from ser_train.cross_validation.folds import run_folds  # noqa: PLC0415 - TensorFlow takes seconds

        run_folds(plan, missing, report)
    else:
        report.note("every fold is finished: kept")
    from ser_train.reports.cross_validation import summarise  # noqa: PLC0415 - Matplotlib takes a second

    return summarise(job.report_folder)
