"""Output files: what other programs read there is what was said, at any moment."""

import dataclasses
import html
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_type_hints

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.processes import files_no_larger_than
from helpers.readers import ENDINGS, READERS, read_csv, read_json, read_rttm, read_srt, read_vtt
from ser_live import Prediction, SerError, listen
from ser_live.engine.segments import Segment, Segmenter
from ser_live.engine.utterances import Utterance
from ser_live.events import Event
from ser_live.output import Outputs, check_outputs, json_record
from ser_live.testing.models import TINY_LABELS

parquet = pytest.importorskip("pyarrow.parquet")
SCHEMA = json.loads((files("ser_live.output") / "records.schema.json").read_text("utf-8"))
ENUMERATED = ((Prediction, "state"), (Event, "kind"))
SPOKEN = Utterance(0.5, 2.5, "sad", 0.75, {"sad": 0.75, "happy": 0.25}, 1.9)
EVENT = Event("gap", 3.5, "120 frames are missing")


@pytest.fixture(scope="module")
def stream(half_demo_file: Path, tiny_model: Path) -> list[Prediction]:
    with listen(half_demo_file, model=tiny_model) as predictions:
        return list(predictions)


@pytest.fixture(scope="module")
def segments(stream: list[Prediction]) -> list[Segment]:
    segmenter = Segmenter()
    found = [segment for p in stream for segment in segmenter.process(p)]
    return found + segmenter.flush()


def escaped(text: str) -> str:
    """Return a text as UTF-8 can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()


def strict(schema: Any) -> Any:
    """Let a schema refuse fields that it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema and "type" in schema else {}
    return {**{key: strict(value) for key, value in schema.items()}, **closed}


def written(folder: Path, stream: list[Prediction]) -> dict[str, str]:
    """Every format of a stream."""
    paths = [folder / f"out{ending}" for ending in ENDINGS]
    with Outputs(paths, TINY_LABELS, "a USB  mic") as outputs:
        outputs.write(EVENT)
        for prediction in stream:
            outputs.write(prediction)
    assert outputs.errors == ()
    return {path.suffix: path.read_bytes().decode() for path in paths}


class TestFormats:
    def test_json_lines_hold_everything(
        self, tmp_path: Path, stream: list[Prediction], segments: list[Segment]
    ) -> None:
        lines = read_json(written(tmp_path, stream)[".jsonl"])
        by_type: dict[object, list[dict[str, object]]] = {}
        for line in lines:
            by_type.setdefault(line.pop("type"), []).append(line)
        assert by_type["event"] == [EVENT.to_dict()]
        assert by_type["prediction"] == json.loads(json.dumps([p.to_dict() for p in stream]))
        assert by_type["segment"] == [s.to_dict() for s in segments]
        assert len(by_type) == 3

    def test_csv_has_a_row_per_prediction(self, tmp_path: Path, stream: list[Prediction]) -> None:
        rows = read_csv(written(tmp_path, stream)[".csv"])
        for row, prediction in zip(rows, stream, strict=True):
            assert int(row["index"]) == prediction.index
            assert float(row["end_seconds"]) == prediction.end_seconds
            assert (row["state"], row["label"] or None) == (prediction.state, prediction.label)
            assert row["changed"] == ("true" if prediction.changed else "false")
            for label in TINY_LABELS:
                share = row[f"probability_{label}"]
                if prediction.probabilities is None:
                    assert share == ""
                else:
                    assert float(share) == prediction.probabilities[label]

    @pytest.mark.parametrize(
        ("ending", "start_accuracy", "end_accuracy"),
        [
            (".srt", 0.0006, 0.0006),
            (".vtt", 0.0006, 0.0006),
            (".rttm", 0.0006, 0.0011),
            (".txt", 1e-6, 1e-6),
        ],
    )
    def test_other_formats_are_the_segments(
        self,
        tmp_path: Path,
        stream: list[Prediction],
        segments: list[Segment],
        ending: str,
        start_accuracy: float,
        end_accuracy: float,
    ) -> None:
        text = written(tmp_path, stream)[ending]
        for (start, end, label, *rest), segment in zip(
            READERS[ending](text), segments, strict=True
        ):
            assert start == pytest.approx(segment.start_seconds, abs=start_accuracy)
            assert end == pytest.approx(segment.end_seconds, abs=end_accuracy)
            share = (
                f" ({100 * segment.mean_confidence:.0f} %)" if ending in (".srt", ".vtt") else ""
            )
            assert label == segment.label + share
            assert rest == [pytest.approx(segment.mean_confidence, abs=0.0006)] * len(rest)
        if ending == ".rttm":
            assert {line.split(" ")[1] for line in text.splitlines()} == {"a_USB_mic"}

    def test_long_streams_have_long_clocks(self, tmp_path: Path) -> None:
        shares, times = dict.fromkeys(TINY_LABELS, 0.25), (359999.9996, 360001.0)
        prediction = Prediction(0, *times, "speech", "sad", 0.5, shares, None, True)
        texts = written(tmp_path, [prediction])
        for read, ending in ((read_srt, ".srt"), (read_vtt, ".vtt")):
            assert read(texts[ending]) == [(360000.0, 360001.0, "sad (50 %)")]
        assert read_rttm(texts[".rttm"])[0][:2] == (360000.0, 360001.0)

    @given(labels=st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_any_label_leaves_the_file_whole(self, tmp_path: Path, labels: list[str]) -> None:
        paths = [tmp_path / f"out{ending}" for ending in ENDINGS]
        document, table = tmp_path / "out.json", tmp_path / "out.parquet"
        with Outputs([*paths, document, table], labels, "".join(labels)) as outputs:
            for index, label in enumerate(labels * 2):
                shares = dict.fromkeys(labels, 0.5)
                outputs.write(
                    Prediction(index, 0.0, index + 1.0, "speech", label, 0.5, shares, shares, True)
                )
        for path in paths:
            records = READERS[path.suffix](path.read_bytes().decode())
            assert len(records) == (8 if path.suffix == ".jsonl" else 4)
        known = json.loads(document.read_bytes())["predictions"]
        assert [one["label"] for one in known] == labels * 2
        columns = parquet.read_table(table).column_names[-2:]
        assert columns == [*map(escaped, (f"probability_{label}" for label in labels))]

    def test_every_file_is_whole_after_every_record(
        self, tmp_path: Path, stream: list[Prediction]
    ) -> None:
        paths = [tmp_path / f"out{ending}" for ending in ENDINGS]
        with Outputs(paths, TINY_LABELS, "demo") as outputs:
            for count, prediction in enumerate(stream, 1):
                outputs.write(prediction)
                texts = {path.suffix: path.read_bytes().decode() for path in paths}
                for ending, text in texts.items():
                    READERS[ending](text)
                assert len(read_csv(texts[".csv"])) == count


class TestDocuments:
    def test_json_is_the_records_of_the_stream(
        self, tmp_path: Path, stream: list[Prediction], segments: list[Segment]
    ) -> None:
        about = {"source": "a mic", "model": "tiny", "labels": TINY_LABELS, "seconds": 19.6}
        about |= {"sample_rate_hz": 16000, "channels": 1, "notes": []}
        with Outputs([tmp_path / "out.json"], TINY_LABELS, "", lambda: about) as outputs:
            outputs.write(EVENT)
            outputs.write(SPOKEN)
            for prediction in stream:
                outputs.write(prediction)
        document = json.loads((tmp_path / "out.json").read_bytes())
        jsonschema.validate(
            document, {"$ref": "#/$defs/document", "$defs": strict(SCHEMA)["$defs"]}
        )
        wanted = {
            "predictions": [*map(json_record, stream)],
            "segments": [*map(json_record, segments)],
            "events": [json_record(EVENT)],
            "utterances": [json_record(SPOKEN)],
        }
        assert document == json.loads(json.dumps({**about, **wanted}))

    @pytest.mark.parametrize("has_channels", [False, True])
    def test_parquet_is_the_csv_table(
        self, tmp_path: Path, stream: list[Prediction], has_channels: bool
    ) -> None:
        pandas = pytest.importorskip("pandas")
        paths = [tmp_path / "out.parquet", tmp_path / "out.csv"]
        with Outputs(paths, TINY_LABELS, "", has_channels=has_channels) as outputs:
            for prediction in stream:
                channel = "left" if has_channels else None
                outputs.write(dataclasses.replace(prediction, channel=channel))
        table, rows = pandas.read_parquet(paths[0]), pandas.read_csv(paths[1])
        pandas.testing.assert_frame_equal(table, rows, check_dtype=False)
        assert ("channel" in table.columns) == has_channels
        assert list(table["label"].dropna()) == [p.label for p in stream if p.label]
        kinds = {name: str(kind) for name, kind in table.dtypes.items()}
        assert (kinds["index"], kinds["changed"], kinds["probability_sad"]) == (
            "int64", "bool", "float64",
        )  # fmt: skip
        assert len(parquet.read_table(paths[0])) == len(stream)

    @pytest.mark.parametrize("ending", [".json", ".parquet"])
    def test_the_old_file_stays_until_the_end(
        self, tmp_path: Path, stream: list[Prediction], ending: str
    ) -> None:
        (tmp_path / "real").write_text("precious")
        path = tmp_path / f"out{ending}"
        path.symlink_to(tmp_path / "real")
        with files_no_larger_than(2000), Outputs([path], TINY_LABELS, "") as outputs:
            for prediction in stream:
                outputs.write(prediction)
            assert path.read_text() == "precious"
        assert len(outputs.errors) == 1
        assert "real: cannot write it (File too large)" in outputs.errors[0]
        assert path.read_text() == "precious"
        with pytest.raises(SerError, match="missing"):
            Outputs([path, tmp_path / "missing" / "a.csv"], TINY_LABELS, "")
        assert sorted(tmp_path.iterdir()) == [path, tmp_path / "real"]
        with Outputs([path], TINY_LABELS, "") as outputs:
            outputs.write(stream[0])
        assert path.is_symlink()
        assert path.read_bytes()[:1] in b"{P"

    def test_parquet_needs_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(
            SerError, match=r"a\.parquet: Parquet needs pyarrow.*ser-live\[parquet\]"
        ):
            check_outputs(["a.parquet"])


def test_other_readers_of_subtitles(tmp_path: Path) -> None:
    webvtt, srt = pytest.importorskip("webvtt"), pytest.importorskip("srt")
    shares = dict.fromkeys(TINY_LABELS, 0.25)
    paths = [tmp_path / "out.vtt", tmp_path / "out.srt"]
    with Outputs(paths, TINY_LABELS, "", has_channels=True) as outputs:
        for end, label in ((1.0, "a <b> & c --> d"), (3601.5, "sad")):
            for channel in ("left", "right"):
                outputs.write(
                    Prediction(
                        0, 0.5, end, "speech", label, 0.5, shares, None, True, channel=channel
                    )
                )
    words = [f"{c}: {x} (50 %)" for x in ("a <b> & c --> d", "sad") for c in ("left", "right")]
    cues = webvtt.read(paths[0])
    assert [html.unescape(cue.text) for cue in cues] == words
    assert cues[-1].end_in_seconds == 3601
    subtitles = [*srt.parse(paths[1].read_text(), ignore_errors=False)]
    assert [one.content for one in subtitles] == words
    assert subtitles[-1].end.total_seconds() == 3601.5


class TestSchema:
    def test_records_are_as_the_schema_says(
        self, tmp_path: Path, stream: list[Prediction], segments: list[Segment]
    ) -> None:
        is_valid = jsonschema.Draft202012Validator(strict(SCHEMA)).is_valid
        lines = read_json(written(tmp_path, stream)[".jsonl"])
        lines.append(json_record(dataclasses.replace(stream[-1], channel="left")))
        lines += map(json_record, (SPOKEN, dataclasses.replace(SPOKEN, channel="2")))
        assert all(map(is_valid, lines))
        kinds = {tuple((name, type(value)) for name, value in line.items()): line for line in lines}
        for line in kinds.values():
            for name in line:  # so the validator looks at every field
                assert not is_valid({**line, name: []})
                rest = {key: value for key, value in line.items() if key != name}
                assert is_valid(rest) == (name == "channel")
            assert not is_valid({**line, "more": 0})

    def test_the_schema_has_every_field(self) -> None:
        for record in (Prediction, Segment, Utterance):
            known = SCHEMA["$defs"][record.__name__.lower()]
            assert [*known["properties"]][1:] == [f.name for f in dataclasses.fields(record)]
        states, kinds = (get_args(get_type_hints(r)[n]) for r, n in ENUMERATED)
        assert tuple(SCHEMA["$defs"]["prediction"]["properties"]["state"]["enum"]) == states
        assert tuple(SCHEMA["$defs"]["event"]["properties"]["event"]["enum"]) == kinds


class TestMistakes:
    @pytest.mark.parametrize("name", ["out", "out.wav", "out.jsonl.gz", ".csv"])
    def test_unknown_endings(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(SerError, match=r"the ending is .* wanted \.jsonl, \.json, ") as error:
            Outputs([tmp_path / name], TINY_LABELS, "demo")
        assert str(tmp_path / name) in str(error.value)
        assert not (tmp_path / name).exists()

    def test_endings_may_be_shouted(self, tmp_path: Path, stream: list[Prediction]) -> None:
        with Outputs([tmp_path / "OUT.CSV"], TINY_LABELS, "demo") as outputs:
            outputs.write(stream[0])
        assert len(read_csv((tmp_path / "OUT.CSV").read_bytes().decode())) == 1

    def test_places_that_take_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "folder.csv").mkdir()
        # The last one is closed even to root.
        for place in (tmp_path / "missing" / "out.csv", tmp_path / "folder.csv", "/sys/out.csv"):
            with pytest.raises(SerError, match=rf"^{place}: cannot write it[^\n]*$"):
                Outputs([place], TINY_LABELS, "demo")

    def test_the_same_file_twice(self, tmp_path: Path) -> None:
        (tmp_path / "link.csv").symlink_to(tmp_path / "out.csv")
        with pytest.raises(SerError, match="named twice"):
            check_outputs([tmp_path / "out.csv", tmp_path / "link.csv"])

    def test_a_mistake_touches_no_other_file(self, tmp_path: Path) -> None:
        (tmp_path / "old.csv").write_text("precious")
        with pytest.raises(SerError):
            Outputs([tmp_path / "old.csv", tmp_path / "new.mp3"], TINY_LABELS, "demo")
        assert (tmp_path / "old.csv").read_text() == "precious"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
class TestFullDisks:
    def test_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "full.csv").symlink_to("/dev/full")
        with pytest.raises(SerError, match=r"full\.csv: cannot write on \(No space left"):
            Outputs([tmp_path / "full.csv"], TINY_LABELS, "demo")

    @pytest.mark.parametrize("ending", [".csv", ".jsonl"])
    def test_half_a_record_is_taken_back(
        self, tmp_path: Path, stream: list[Prediction], ending: str
    ) -> None:
        path = tmp_path / f"out{ending}"
        with files_no_larger_than(2000), Outputs([path], TINY_LABELS, "demo") as outputs:
            for prediction in stream:
                outputs.write(prediction)
        assert "File too large" in outputs.errors[0]
        text = path.read_bytes().decode()
        records = READERS[ending](text)
        assert len(records) >= 3
        assert 2000 - len(text) < 2 * len(text) / len(records)


@pytest.mark.integration
def test_a_reader_may_follow_a_pipe(tmp_path: Path, stream: list[Prediction]) -> None:
    pipe = tmp_path / "live.jsonl"
    os.mkfifo(pipe)
    code = "import sys; print(sum(1 for _ in open(sys.argv[1])))"
    with subprocess.Popen([sys.executable, "-c", code, str(pipe)], stdout=subprocess.PIPE) as cat:
        with Outputs([pipe], TINY_LABELS, "demo") as outputs:
            for prediction in stream[:9]:
                outputs.write(prediction)
        out, _ = cat.communicate(timeout=20)
    assert int(out) >= 9
