"""Every public name has an example that runs."""

import doctest
import importlib.util
from pathlib import Path

import pytest
import soundfile

import ser_live


@pytest.mark.parametrize("name", ser_live.__all__)
def test_the_example_of_a_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Path(ser_live.__file__).parent / "data" / "demo.ogg"
    samples, rate = soundfile.read(demo, stop=22050 * 4)
    soundfile.write(tmp_path / "talk.wav", samples, rate)
    monkeypatch.chdir(tmp_path)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    examples = finder.find(getattr(ser_live, name), name, module=False, globs={})
    if name == "Recognition" and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("needs matplotlib")
    for example in examples:
        runner.run(example)
    assert runner.tries >= 2
    assert runner.failures == 0
