"""The light model instead of the default one, where more is asked for than that carries."""

from pathlib import Path

import pytest

from helpers import serving
from ser_live.model import catalog
from ser_live.testing import tiny_card, write_tiny_model

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models that are shipped, both of them tiny."""
    for name in (catalog.DEFAULT_MODEL, catalog.LIGHT_MODEL):
        write_tiny_model(tmp_path / f"{name}.onnx", tiny_card(name=name))
    monkeypatch.setattr(catalog, "model_folder", lambda: tmp_path)
    return tmp_path


def default_of(server: serving.Server) -> str:
    models = server.get("/v1/models").json()
    (name,) = [model["name"] for model in models if model["default"]]
    assert models[0]["name"] == name
    return str(name)


@pytest.mark.usefixtures("folder")
def test_more_streams_than_the_default_model_carries_begin_with_the_light_one() -> None:
    with serving.server("--max-streams", 1_000_000, model=None) as server:
        assert default_of(server) == "emotion-light"
        (line,) = server.log.wait_for("light model", level="warning")
        assert "1000000 streams are asked for" in line["detail"]
        assert "--model emotion" in line["detail"]
        assert {model["name"] for model in server.get("/v1/models").json()} >= {"emotion"}


@pytest.mark.parametrize(
    "options", [(), ("--max-streams", 2), ("--max-streams", 1_000_000, "--model", "emotion")]
)
@pytest.mark.usefixtures("folder")
def test_the_default_model_stays_where_it_is_enough_or_wanted(options: tuple[object, ...]) -> None:
    with serving.server(*options, model=None) as server:
        assert default_of(server) == "emotion"
        assert server.log.lines("light model") == []


def test_without_a_light_model_the_default_stays(folder: Path) -> None:
    (folder / "emotion-light.onnx").unlink()
    with serving.server("--max-streams", 1_000_000, model=None) as server:
        assert default_of(server) == "emotion"
