"""Channels that are recognized apart: each as a recording of it alone, however it is cut."""

import contextlib
import dataclasses
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.signals import at_random, demo_voice, fixed, run
from helpers.streams import FailingModel
from ser_live import Prediction, SerError, StreamRecognizer
from ser_live.engine.channels import ChannelRecognizer, UseChannels, recognizer_of
from ser_live.engine.segments import Segmenter
from ser_live.model.classifier import OnnxClassifier

RATE = 22050


def voices(dtype: str = "float32") -> NDArray[np.generic]:
    """Three channels: two parts of the demo, and a faint one."""
    parts = [demo_voice(RATE, 5.0), demo_voice(RATE, 5.0, 6.0), 0.1 * demo_voice(RATE, 5.0, 2.0)]
    samples = np.stack(parts, axis=1)
    return (samples * 32767).astype(np.int16) if dtype == "int16" else samples.astype(dtype)


def apart(model: OnnxClassifier, use_channels: UseChannels, channels: int = 3) -> ChannelRecognizer:
    made = recognizer_of(
        use_channels, channels, partial(StreamRecognizer, model, sample_rate_hz=RATE)
    )
    assert isinstance(made, ChannelRecognizer)
    return made


def alone(model: OnnxClassifier, samples: NDArray[np.generic], name: str) -> list[Prediction]:
    """Return the predictions of a recording of one channel, with its name."""
    recognizer = StreamRecognizer(model, sample_rate_hz=RATE)
    predictions = recognizer.process(samples.copy()) + recognizer.flush()
    return [dataclasses.replace(one, channel=name) for one in predictions]


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_each_channel_is_recognized_as_alone_by_any_chunking(
    model: OnnxClassifier, dtype: str
) -> None:
    samples = voices(dtype)
    recognizer = apart(model, "split")
    whole = run(recognizer, iter([samples]))
    for index, name in enumerate(("1", "2", "3")):
        assert [p for p in whole if p.channel == name] == alone(model, samples[:, index], name)
    assert {p.state for p in whole} >= {"silence", "warming_up", "speech"}
    ends = [p.end_seconds for p in whole]
    assert ends == sorted(ends)
    for cut in (fixed(5513), at_random(1)):
        recognizer.reset()
        assert run(recognizer, cut(samples)) == whole


@pytest.mark.parametrize(
    ("use_channels", "channels", "picked", "names"),
    [
        ("split", 2, (0, 1), ("left", "right")),
        ("split", 1, (0,), ("1",)),
        ("left", 2, (0,), ("left",)),
        ("right", 2, (1,), ("right",)),
        ("right", 4, (1,), ("2",)),
        ("3,1", 3, (2, 0), ("3", "1")),
        ([1, 3], 3, (0, 2), ("1", "3")),
        (np.array([2]), 3, (1,), ("2",)),
    ],
)
def test_channels_are_chosen(
    model: OnnxClassifier,
    use_channels: UseChannels,
    channels: int,
    picked: tuple[int, ...],
    names: tuple[str, ...],
) -> None:
    recognizer = apart(model, use_channels, channels)
    assert (recognizer.picked, recognizer.names) == (picked, names)
    samples = voices()[: RATE * 2, [0, 1, 2, 0][:channels]]
    whole = run(recognizer, iter([samples]))
    for index, name in zip(picked, names, strict=True):
        assert [p for p in whole if p.channel == name] == alone(model, samples[:, index], name)


def test_a_mix_is_what_it_was(model: OnnxClassifier) -> None:
    made = recognizer_of("mix", 3, partial(StreamRecognizer, model, sample_rate_hz=RATE))
    assert isinstance(made, StreamRecognizer)
    assert "channel" not in made.process(voices()[: RATE // 2])[0].to_dict()


@pytest.mark.parametrize(
    ("use_channels", "channels", "told"),
    [
        ("both", 2, "'both', wanted mix, split, left"),
        ("", 2, "wanted mix"),
        ([], 2, "wanted mix"),
        ("0", 2, "wanted mix"),
        ("1,1", 2, "each once"),
        ("left,1", 2, "each once"),
        ([1.5], 2, "wanted mix"),
        (3, 2, "wanted mix"),
        (None, 2, "wanted mix"),
        ("right", 1, "'right', and there is one channel"),
        ("1,3", 2, "'1,3', and there are 2 channels"),
    ],
)
def test_what_is_no_choice_is_refused_in_one_line(
    model: OnnxClassifier, use_channels: UseChannels, channels: int, told: str
) -> None:
    with pytest.raises(SerError, match=f"^use_channels is .*{told}[^\n]*$"):
        recognizer_of(use_channels, channels, partial(StreamRecognizer, model))


def test_a_block_that_is_refused_changes_no_channel(model: OnnxClassifier) -> None:
    samples = voices()
    recognizer = apart(model, "2,3")
    wanted = run(recognizer, iter([samples]))
    recognizer.reset()
    bad = samples[:1000].copy()
    bad[5, 2] = np.nan
    first = recognizer.process(samples[:RATE])
    for block in (bad, samples[:1000, :2], "no samples"):
        with pytest.raises(SerError):
            recognizer.process(block)
    bad[5] = [np.nan, 0.0, 0.0]  # the channel that is not used
    assert recognizer.process(samples[RATE : RATE + 10] * [np.nan, 1.0, 1.0]) == []
    assert first + run(recognizer, iter([samples[RATE + 10 :]])) == wanted


def test_a_gap_a_swap_and_a_wider_hop_reach_every_channel(model: OnnxClassifier) -> None:
    samples = voices()[:, :2]
    recognizer = apart(model, "split", 2)
    streams = [StreamRecognizer(model, sample_rate_hz=RATE) for _ in range(2)]
    got, wanted = list[Prediction](), list[Prediction]()
    recognizer.hops_per_prediction = streams[0].hops_per_prediction = 2
    streams[1].hops_per_prediction = 2
    got += recognizer.process(samples[: 2 * RATE]) + recognizer.end_stretch()
    got += recognizer.skip(RATE, 16000, 3)
    recognizer.swap(recognizer.classifier)
    later = np.stack([demo_voice(16000, 3.0, start) for start in (0.0, 6.0, 9.0)], axis=1)
    got += recognizer.process(later) + recognizer.flush()
    for index, (stream, name) in enumerate(zip(streams, ("left", "right"), strict=True)):
        mine = stream.process(samples[: 2 * RATE, index]) + stream.end_stretch()
        mine += stream.skip(RATE, 16000)
        mine += stream.process(later[:, index]) + stream.flush()
        wanted += [dataclasses.replace(one, channel=name) for one in mine]
    assert got == sorted(wanted, key=lambda one: one.end_seconds)
    assert recognizer.flush() == []
    stats = recognizer.stats
    assert stats.predictions == len(got) == next(s.count for s in stats.stages if s.name == "total")


def test_a_device_that_comes_back_without_the_channel_is_told(model: OnnxClassifier) -> None:
    recognizer = apart(model, "right", 2)
    before = recognizer.process(voices()[:RATE, :2])
    with pytest.raises(SerError, match="there is one channel"):
        recognizer.skip(100, 16000, 1)
    assert before + recognizer.process(voices()[RATE:, :2])  # and it may come back once more


@pytest.mark.parametrize("at", [1, 4])
def test_a_network_that_fails_is_told_and_nothing_goes_on(model: OnnxClassifier, at: int) -> None:
    samples = voices()[: 3 * RATE]
    recognizer = apart(FailingModel(model, at, SerError("it failed")), "1,2")
    got = list[Prediction]()
    with contextlib.suppress(SerError):
        for block in fixed(RATE // 4)(samples):
            got += recognizer.process(block)
    with pytest.raises(SerError, match="it failed"):
        recognizer.process(samples)
    assert got == run(apart(model, "1,2"), iter([samples]))[: len(got)]
    for call in (partial(recognizer.process, samples), recognizer.flush):
        with pytest.raises(SerError, match=r"only after reset\(\)"):
            call()


def test_segments_of_channels_do_not_end_each_other(model: OnnxClassifier) -> None:
    samples = voices()
    together, each = Segmenter(), []
    whole = run(apart(model, "split"), iter([samples]))
    segments = [s for one in whole for s in together.process(one)] + together.flush()
    for name in ("1", "2", "3"):
        segmenter = Segmenter()
        mine = [one for one in whole if one.channel == name]
        each += [s for one in mine for s in segmenter.process(one)] + segmenter.flush()
    assert sorted(segments, key=str) == sorted(each, key=str)
    assert len({s.channel for s in segments}) > 1
    assert segments[0].to_dict()["channel"] == segments[0].channel
