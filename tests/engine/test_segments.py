"""Segments: ordered, apart, and as long as what they are made of."""

from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from ser_live import Prediction
from ser_live.engine.segments import UNCERTAIN, Segment, Segmenter
from ser_live.prediction import State

HOP = 0.25
quick = settings(max_examples=40)


def prediction(
    index: int,
    state: State,
    label: str | None = None,
    start_seconds: float | None = None,
    confidence: float = 0.5,
    hop_seconds: float = HOP,
) -> Prediction:
    end = (index + 1) * hop_seconds
    start = max(0.0, end - 3.0) if start_seconds is None else start_seconds
    told = confidence if label else 0.0
    return Prediction(index, start, end, state, label, told, None, None, changed=False)


sad = partial(prediction, state="speech", label="sad")
silence = partial(prediction, state="silence")


def segments_of(predictions: list[Prediction]) -> list[Segment]:
    segmenter = Segmenter()
    found = [segment for p in predictions for segment in segmenter.process(p)]
    return found + segmenter.flush()


def spans(predictions: list[Prediction]) -> list[tuple[float, float]]:
    return [(s.start_seconds, s.end_seconds) for s in segments_of(predictions)]


@st.composite
def streams(draw: st.DrawFn) -> list[Prediction]:
    """Any stream: numbers may be left out, and windows begin anywhere before their end."""
    hop_seconds = draw(st.sampled_from([0.01, 0.25, 1.0, 5.0]))
    index, found = -1, []
    for _ in range(draw(st.integers(0, 25))):
        index += draw(st.sampled_from([1, 1, 1, 1, 2, 20]))
        states: list[State] = ["speech", "speech", "uncertain", "silence", "warming_up"]
        state = draw(st.sampled_from(states))
        has_label = state in ("speech", "uncertain")
        label = draw(st.sampled_from(["happy", "sad"])) if has_label else None
        end = (index + 1) * hop_seconds
        start = max(0.0, end - draw(st.sampled_from([hop_seconds, 0.3, 1.0, 3.0, 30.0])))
        confidence = draw(st.floats(0.0, 1.0))
        found.append(prediction(index, state, label, start, confidence, hop_seconds))
    return found


@quick
@given(streams())
def test_segments_are_ordered_and_apart(stream: list[Prediction]) -> None:
    end_before = 0.0
    for segment in segments_of(stream):
        assert end_before <= segment.start_seconds < segment.end_seconds
        end_before = segment.end_seconds


@quick
@given(streams())
def test_a_segment_is_what_its_predictions_are(stream: list[Prediction]) -> None:
    found = segments_of(stream)
    labelled = [p for p in stream if p.label is not None]
    counted = 0
    for segment in found:
        inside = [
            p for p in labelled if segment.start_seconds < p.end_seconds <= segment.end_seconds
        ]
        assert {UNCERTAIN if p.state == "uncertain" else p.label for p in inside} == {segment.label}
        confidences = [p.confidence for p in inside]
        assert min(confidences) - 1e-9 <= segment.mean_confidence <= max(confidences) + 1e-9
        counted += len(inside)
    assert counted == len(labelled)


@quick
@given(streams(), streams())
def test_reset_is_as_new(first: list[Prediction], second: list[Prediction]) -> None:
    segmenter = Segmenter()
    for p in first:
        segmenter.process(p)
    segmenter.reset()
    found = [segment for p in second for segment in segmenter.process(p)]
    assert found + segmenter.flush() == segments_of(second)
    assert segmenter.flush() == []


def test_an_utterance_begins_at_its_onset_and_later_labels_at_their_hop() -> None:
    stream = [
        prediction(0, "silence"),
        prediction(1, "warming_up", start_seconds=0.3),
        prediction(2, "warming_up", start_seconds=0.3),
        prediction(3, "speech", "happy", 0.3, 0.5),
        prediction(4, "speech", "happy", 0.3, 0.75),
        prediction(5, "uncertain", "happy", 0.3, 0.25),
        prediction(6, "uncertain", "sad", 0.3, 0.125),
        prediction(7, "speech", "sad", 0.3, 0.9),
        prediction(8, "silence"),
    ]
    assert segments_of(stream) == [
        Segment(0.3, 1.25, "happy", 0.625),
        Segment(1.25, 1.75, "uncertain", 0.1875),
        Segment(1.75, 2.0, "sad", 0.9),
    ]


def test_a_pause_within_an_utterance_belongs_to_no_segment() -> None:
    stream = [sad(3, start_seconds=0.0), silence(4), silence(5), sad(6, start_seconds=0.0)]
    assert spans(stream) == [(0.0, 1.0), (1.5, 1.75)]


def test_missing_audio_ends_a_segment() -> None:
    assert spans([sad(3), sad(40, start_seconds=9.0)]) == [(0.0, 1.0), (9.0, 10.25)]


def test_a_skipped_prediction_whose_audio_was_heard_does_not() -> None:
    assert spans([sad(3), sad(5, start_seconds=0.0)]) == [(0.0, 1.5)]


def test_audio_between_two_windows_belongs_to_no_segment() -> None:
    stream = [sad(k, start_seconds=5.0 * k + 2.0, hop_seconds=5.0) for k in range(2)]
    stream.append(prediction(2, "speech", "happy", 10.0, hop_seconds=5.0))
    assert spans(stream) == [(2.0, 5.0), (7.0, 10.0), (10.0, 15.0)]
