"""Recordings: what was delivered comes back, sample by sample, also after the worst ending."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.streams import GivenSource
from ser_live import Prediction, SerError, __version__, listen
from ser_live.model.catalog import model_sha256
from ser_live.recording import Recorder, ReplaySource, Session, files
from ser_live.sources import DEMO_PATH, Block, FileSource, Notice, Source
from ser_live.testing import demo_voice

Item = Block | Notice
RATE_HZ = 22050


def fed(items: Sequence[Item], rates_hz: dict[int, int] | None = None) -> GivenSource:
    return GivenSource(items, RATE_HZ, rates_hz, is_live=True)


def recorded(path: Path, items: list[Item], model: Path, **options: object) -> list[Item]:
    """Pass items through a recorder; give what came out on the other side."""
    with Recorder(fed(items), path, model, **options) as recorder:  # type: ignore[arg-type]
        return list(recorder)


def replayed(path: Path) -> list[Item]:
    with ReplaySource(path) as source:
        return list(source)


def as_float(samples: NDArray[np.generic]) -> NDArray[np.float32]:
    scale = 32768 if samples.dtype == np.int16 else 1
    return samples.astype(np.float32) / np.float32(scale)


def assert_same(got: list[Item], wanted: list[Item]) -> None:
    assert len(got) == len(wanted)
    for ours, theirs in zip(got, wanted, strict=True):
        if isinstance(theirs, Notice):
            assert ours == theirs
        else:
            assert isinstance(ours, Block)
            assert ours.samples.shape == theirs.samples.shape
            # As bits: NaN equals nothing else.
            bits = as_float(theirs.samples).view(np.uint32)
            np.testing.assert_array_equal(ours.samples.view(np.uint32), bits)
            assert ours.missing_frames == theirs.missing_frames
            assert ours.overruns == theirs.overruns


@st.composite
def sessions(draw: st.DrawFn) -> list[Item]:
    """Blocks of all sizes and types of one channel count, with marks, and notices between."""
    channels = draw(st.integers(1, 3))
    is_int = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    items: list[Item] = []
    sizes = st.one_of(st.just(100), st.just(100), st.integers(0, 300))
    for size in draw(st.lists(sizes, min_size=1, max_size=15)):
        if draw(st.integers(0, 4)) == 0:
            items.append(Notice("device_lost", draw(st.text(max_size=5))))
        samples: NDArray[np.generic] = rng.normal(size=(size, channels)).astype(np.float32)
        if is_int:
            samples = rng.integers(-32768, 32768, (size, channels)).astype(np.int16)
        elif draw(st.booleans()):
            bad = rng.choice([np.nan, np.inf, -np.inf, 1e-45, -0.0], samples.shape)
            samples = np.where(rng.random(samples.shape) < 0.1, bad, samples).astype(np.float32)
        missing = draw(st.sampled_from([0, 0, 0, 1, 48000]))
        items.append(Block(samples, 5.0, missing, draw(st.sampled_from([0, 0, 0, 2]))))
    return items


class TestFiles:
    @given(items=sessions())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_everything_comes_back(
        self, items: list[Item], tmp_path_factory: pytest.TempPathFactory, tiny_model: Path
    ) -> None:
        path = tmp_path_factory.mktemp("r") / "session.wav"
        passed = recorded(path, items, tiny_model)
        assert all(ours is theirs for ours, theirs in zip(passed, items, strict=True))
        if any(isinstance(item, Block) and len(item.samples) for item in items):
            assert_same(replayed(path), items)
        else:
            assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("limit_bytes", [None, 1000])
    def test_any_program_reads_the_samples(
        self,
        tmp_path: Path,
        tiny_model: Path,
        monkeypatch: pytest.MonkeyPatch,
        limit_bytes: int | None,
    ) -> None:
        if limit_bytes:
            monkeypatch.setattr(files, "_LARGEST_RIFF_BYTES", limit_bytes)
        samples = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
        path = tmp_path / "a.wav"
        recorded(path, [Block(samples[:1300]), Block(samples[1300:])], tiny_model)
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE_HZ, 2, "FLOAT")
        assert info.format == ("RF64" if limit_bytes else "WAV")
        assert "should be" not in info.extra_info
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], samples)

    def test_the_first_line_says_how_it_was_made(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        recorded(path, [Block(np.zeros((10, 2)))], tiny_model, hop_seconds=0.5, vad=False)
        first = json.loads((tmp_path / "a.wav.jsonl").read_text().splitlines()[0])
        assert first.pop("type") == "session"
        assert ReplaySource(path).session == Session(**first)
        assert Session(**first) == Session(
            version=__version__,
            source=GivenSource.name,
            sample_rate_hz=RATE_HZ,
            channels=2,
            model=str(tiny_model),
            model_sha256=model_sha256(tiny_model),
            window_seconds=None,
            hop_seconds=0.5,
            smoothing_seconds=None,
            vad=False,
        )

    @pytest.mark.parametrize("prior", ["even", {"sad": 4.0, "ordinary": 0.5}])
    def test_prior_and_threshold_are_kept_and_may_be_missing(
        self, tmp_path: Path, half_demo_file: Path, everyday_model: Path, prior: Any
    ) -> None:
        path = tmp_path / "a.wav"
        options = {"prior": prior, "uncertain_below": 0.9}
        recorder = Recorder(FileSource(half_demo_file), path, everyday_model, **options)
        with listen(recorder, model=everyday_model, **options) as predictions:
            got = list(predictions)
        session = ReplaySource(path).session
        kept: dict[str, Any] = {name: getattr(session, name) for name in options}
        assert kept == options
        with listen(ReplaySource(path), model=everyday_model, **kept) as predictions:
            assert list(predictions) == got
        lines = path.with_name("a.wav.jsonl")
        head, rest = lines.read_text().split("\n", 1)
        older = {name: value for name, value in json.loads(head).items() if name not in options}
        lines.write_text(f"{json.dumps(older)}\n{rest}")
        session = ReplaySource(path).session
        assert (session.prior, session.uncertain_below) == (None, None)

    def test_a_shipped_model_is_named_not_located(self, tmp_path: Path) -> None:
        with Recorder(FileSource(DEMO_PATH), tmp_path / "a.wav") as recorder:
            next(iter(recorder))
        assert ReplaySource(tmp_path / "a.wav").session.model == "emotion"

    def test_a_recorder_is_a_source(self, tmp_path: Path, tiny_model: Path) -> None:
        source = fed([Block(np.zeros((10, 1), np.int16))])
        recorder = Recorder(source, tmp_path / "a.wav", tiny_model)
        with recorder:
            assert (recorder.name, recorder.is_live) == (source.name, True)
            assert (recorder.sample_rate_hz, recorder.channels) == (RATE_HZ, 1)
            assert recorder.counters is source.counters
            assert recorder.notes == source.notes
            recorder.skip_to_newest(0.5)
            assert source.kept_seconds == 0.5
            recorder.close()
            assert source.closed == 1
        assert source.closed == 2

    def test_nothing_captured_leaves_nothing_behind(self, tmp_path: Path, tiny_model: Path) -> None:
        with Recorder(fed([Block(np.zeros((1, 1), np.int16))]), tmp_path / "a.wav", tiny_model):
            assert len(list(tmp_path.iterdir())) == 2
        assert list(tmp_path.iterdir()) == []


class TestTheLaw:
    """A replay gives the predictions of the session, bit for bit."""

    def session(self, seed: int, channels: int = 1) -> list[Item]:
        """Half of the demo in blocks of any length, with gaps, overruns, NaN and notices."""
        rng = np.random.default_rng(seed)
        voice, rate_hz = soundfile.read(DEMO_PATH, 215_000, dtype="float32", always_2d=True)
        assert rate_hz == RATE_HZ
        voice = np.repeat(voice, channels, axis=1)
        items: list[Item] = []
        start = 0
        while start < len(voice):
            size = int(rng.choice([1, 441, 2205, 2205, 4000]))
            samples = voice[start : start + size].copy()
            if rng.random() < 0.02:
                samples[rng.integers(len(samples))] = rng.choice([np.nan, np.inf])
            missing = int(rng.choice([0, 17, 3000, 50000], p=[0.97, 0.01, 0.01, 0.01]))
            items.append(Block(samples, None, missing, int(rng.random() < 0.02)))
            if missing > 10000:
                items.insert(-1, Notice("device_lost", "gone"))
                items.insert(-1, Notice("device_restored", "back"))
            start += size
        return items

    @pytest.mark.parametrize(("seed", "channels"), [(0, 1), (1, 2)])
    def test_replay_equals_session(
        self, tmp_path: Path, tiny_model: Path, seed: int, channels: int
    ) -> None:
        path, options = tmp_path / "session.wav", {"hop_seconds": 0.1, "smoothing_seconds": 0.2}
        source = fed(self.session(seed, channels))
        recorder = Recorder(source, path, tiny_model, **options)  # type: ignore[arg-type]
        got = self.recognized(recorder, model=tiny_model, **options)
        again = ReplaySource(path)
        kept = {name: getattr(again.session, name) for name in ("model", *options)}
        assert self.recognized(again, **kept) == got
        assert any(p.degraded for p in got)
        assert {p.state for p in got} >= {"speech", "warming_up", "silence"}

    @pytest.mark.parametrize("ending", ["end", "close", "break", "kill"])
    def test_a_session_that_ends_in_speech(
        self, tmp_path: Path, tiny_model: Path, ending: str
    ) -> None:
        """The rest of a hop has a prediction in both, or in neither."""
        path = tmp_path / "session.wav"
        soundfile.write(tmp_path / "voice.wav", demo_voice()[:50000], 16000)
        recorder = Recorder(FileSource(tmp_path / "voice.wav"), path, tiny_model, hop_seconds=0.3)
        got = []
        with listen(recorder, model=tiny_model, hop_seconds=0.3) as predictions:
            for prediction in predictions:
                got.append(prediction)
                if len(got) == 7 and ending == "break":
                    break
                if len(got) == 7 and ending == "close":
                    predictions.close()
            lines = path.with_name("session.wav.jsonl").read_text()
        if ending == "kill":  # before it could say that the stream had ended
            got = got[:-1]
            kept = [line for line in lines.splitlines(keepends=True) if '"end"' not in line]
            path.with_name("session.wav.jsonl").write_text("".join(kept))
        assert self.recognized(ReplaySource(path), model=tiny_model, hop_seconds=0.3) == got
        is_closed = round(got[-1].end_seconds / 0.3, 6) % 1.0 != 0.0
        assert is_closed == (ending in ("end", "close"))

    def recognized(self, source: Source, **options: Any) -> list[Prediction]:
        """Wait for every hop, whatever the source says of itself."""
        with listen(source, policy="block", **options) as predictions:
            return list(predictions)

    def test_a_paced_replay_measures_lag(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "session.wav"
        voice = soundfile.read(DEMO_PATH, dtype="float32", always_2d=True)[0][:RATE_HZ]
        recorded(path, [Block(voice[:5000], None, 100), Block(voice[5000:])], tiny_model)
        with ReplaySource(path, "realtime") as source:
            blocks = [item for item in source if isinstance(item, Block)]
        times = [block.end_captured_at or 0.0 for block in blocks]
        wanted = len(voice[5000:]) / RATE_HZ
        assert times[1] - times[0] == pytest.approx(wanted)


class TestBadEndings:
    def test_half_a_line_and_missing_samples_are_no_obstacle(
        self, tmp_path: Path, tiny_model: Path
    ) -> None:
        path = tmp_path / "a.wav"
        items: list[Item] = [Block(np.full((n, 1), n, np.float32)) for n in (100, 100, 60)]
        recorded(path, items, tiny_model)
        lines = path.with_name("a.wav.jsonl")
        lines.write_text(lines.read_text() + '{"type": "block", "at_fr')
        assert_same(replayed(path), items)
        # The mark of a block is there before the block is.
        lines.write_text(lines.read_text().rpartition("{")[0])
        with lines.open("a") as more:
            more.write('{"type": "block", "at_frame": 260, "frames": 9, "missing_frames": 5}\n')
        assert_same(replayed(path), items)

    @pytest.mark.parametrize(("rate_hz", "channels"), [(48000, 1), (RATE_HZ, 2)])
    def test_another_format_stops_the_recording(
        self,
        tmp_path: Path,
        tiny_model: Path,
        caplog: pytest.LogCaptureFixture,
        rate_hz: int,
        channels: int,
    ) -> None:
        path = tmp_path / "a.wav"
        first, other = (Block(np.zeros((50, n), np.float32)) for n in (1, channels))
        items: list[Item] = [first, Notice("device_restored", "back"), other, other]
        with (
            caplog.at_level(logging.WARNING),
            Recorder(fed(items, {2: rate_hz}), path, tiny_model) as recorder,
        ):
            assert list(recorder) == items
        reason = f"came back with {rate_hz} Hz x {channels} instead of 22050 Hz x 1"
        assert reason in recorder.notes[-1]
        assert recorder.notes[-1] in caplog.text
        with ReplaySource(path) as source:
            assert_same(list(source), items[:2])
            assert reason in source.notes[0]


class TestMistakes:
    ITEMS: tuple[Item, ...] = (Block(np.zeros((10, 1), np.float32)),)

    @pytest.fixture
    def path(self, tmp_path: Path, tiny_model: Path) -> Path:
        """A recording."""
        recorded(tmp_path / "a.wav", list(self.ITEMS), tiny_model)
        return tmp_path / "a.wav"

    @pytest.mark.parametrize(
        ("name", "model", "words"),
        [
            ("a.wav", None, r"a\.wav: .*never overwritten"),
            ("b.wav", None, r"b\.wav\.jsonl: .*never overwritten"),
            ("missing/a.wav", None, r"missing/a\.wav: cannot record to it"),
            (f"{'a' * 300}.wav", None, r"a\.wav: cannot record to it"),
            ("a.flac", None, r"a\.flac: .*ends in \.wav"),
            ("c.wav", "missing", "no model"),
        ],
    )
    def test_what_is_refused_changes_no_file(
        self, path: Path, tiny_model: Path, name: str, model: str | None, words: str
    ) -> None:
        path.with_name("b.wav.jsonl").write_text("precious")
        before = {file: file.read_bytes() for file in path.parent.iterdir()}
        source = fed(self.ITEMS)
        with (
            pytest.raises(SerError, match=rf"^[^\n]*{words}[^\n]*$"),
            Recorder(source, path.parent / name, model or tiny_model),
        ):
            pass
        assert source.opened == source.closed
        assert ("overwritten" in words) <= (source.opened == 0)  # no device for nothing
        assert {file: file.read_bytes() for file in path.parent.iterdir()} == before

    def test_plain_audio_is_no_recording(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(100), 8000)
        with pytest.raises(SerError, match=r"a\.wav\.jsonl: cannot read it .*--file"):
            ReplaySource(tmp_path / "a.wav")

    def test_samples_of_another_recording(self, path: Path) -> None:
        soundfile.write(path, np.zeros(100), 8000)
        with pytest.raises(SerError, match="8000 Hz x 1, the lines beside it say 22050"):
            ReplaySource(path).__enter__()

    @pytest.mark.parametrize(
        "line",
        [
            "nonsense",
            "[]",
            "{}",
            '{"type": "block"}',
            '{"type": "block", "at_frame": -1, "frames": 3}',
            '{"type": "block", "at_frame": 1.5, "frames": 3}',
            '{"type": "notice", "at_frame": 1, "kind": "party", "detail": ""}',
            "\udcff",
        ],
    )
    def test_damaged_lines_are_named(self, path: Path, line: str) -> None:
        with path.with_name("a.wav.jsonl").open("ab") as lines:
            lines.write(line.encode("utf-8", "surrogateescape") + b"\n")
        with pytest.raises(SerError, match=r"^[^\n]*a\.wav\.jsonl[^\n]*$") as refused:
            replayed(path)
        reason = str(refused.value).rpartition(".jsonl")[2]
        assert not re.search(r"Error\(|__init__|object", reason)  # Python's own words

    def test_other_samples_of_the_same_length(self, tmp_path: Path, tiny_model: Path) -> None:
        path = tmp_path / "a.wav"
        voice = soundfile.read(DEMO_PATH, dtype="float32", always_2d=True)[0]
        items: list[Item] = [Block(part) for part in np.array_split(voice, 40)]
        recorded(path, items, tiny_model)
        samples = voice.copy()
        for frame, seconds in ((33000, "1.47"), (0, "0.00")):  # noticed early, not at the end
            samples[frame] += 0.5
            soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
            with pytest.raises(SerError, match=f"other samples than .* at {seconds} s"):
                replayed(path)
        # Recordings of earlier versions have no checksums.
        lines = path.with_name("a.wav.jsonl")
        text = re.sub(r', "crc32": \d+', "", lines.read_text())
        lines.write_text(text.replace('"format_version": 2', '"format_version": 1'))
        assert sum(len(item.samples) for item in replayed(path) if isinstance(item, Block)) > 400000

    def test_later_formats_are_refused(self, path: Path) -> None:
        lines = path.with_name("a.wav.jsonl")
        newer = lines.read_text().replace('"format_version": 2', '"format_version": 3')
        lines.write_text(newer)
        with pytest.raises(SerError, match="format 3, wanted 1 to 2"):
            ReplaySource(path)
        lines.write_text("".join(newer.splitlines(keepends=True)[1:]))
        with pytest.raises(SerError, match="first line"):
            ReplaySource(path)
