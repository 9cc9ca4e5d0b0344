from typing import Any

import pytest

from ser_train.models.registry import NETWORKS, create_model

LABELS = 8
BINS = NETWORKS["issa-ravdess"].spectrum.bins
OWN_PARAMETERS = 2 * 193 + 1 + 1
"""Statistics of "standardize" with their count, and the temperature: not in the paper."""


def build(name: str, *arguments: Any) -> Any:
    from ser_train.models import issa2020  # noqa: PLC0415 - Keras takes seconds

    return getattr(issa2020, f"build_issa_{name}")(*arguments)


@pytest.mark.parametrize(
    ("name", "labels", "padding", "parameters"),
    [
        ("ravdess", 8, "valid", 502_952),  # the published code
        ("ravdess", 8, "same", 520_360),  # the paper's figure
        ("emodb", 7, "valid", 266_119),  # the published code
        ("iemocap", 4, "valid", 499_348),  # by hand: that for RAVDESS with 4 labels
    ],
)
def test_has_as_many_parameters_as_published(
    name: str, labels: int, padding: str, parameters: int
) -> None:
    model = build(name, labels, BINS, padding)
    assert model.count_params() - OWN_PARAMETERS == parameters


def layers_of(model: Any) -> list[str]:
    """Name each layer behind the features by its kind, with its size or rate."""
    kinds = {"Conv1D": "filters", "Dropout": "rate", "MaxPooling1D": "pool_size", "Dense": "units"}
    names = [type(layer).__name__ for layer in model.layers[3:]]
    values = [
        getattr(layer, kinds.get(name, ""), "")
        for layer, name in zip(model.layers[3:], names, strict=True)
    ]
    return [f"{name} {value}".rstrip() for name, value in zip(names, values, strict=True)]


def test_model_a_for_emodb_is_the_published_one() -> None:
    assert layers_of(build("emodb", 7, BINS)) == [
        *("Conv1D 256", "BatchNormalization", "ReLU"),
        *("Conv1D 128", "ReLU", "Dropout 0.1", "MaxPooling1D (8,)"),
        *("Conv1D 128", "BatchNormalization", "ReLU", "Dropout 0.2"),
        *("Flatten", "Dense 7", "Temperature", "Softmax"),
    ]


def test_iemocap_differs_from_ravdess_in_one_dropout() -> None:
    ravdess = layers_of(build("ravdess", 4, BINS))
    iemocap = layers_of(create_model("issa-iemocap", 4))
    pairs = list(zip(ravdess, iemocap, strict=True))
    assert [pair for pair in pairs if pair[0] != pair[1]] == [("Dropout 0.1", "Dropout 0.2")]
    assert iemocap.index("Dropout 0.2") < iemocap.index("MaxPooling1D (8,)")
