"""The programs for voice agents and telephones on the pages of docs/ do what these say."""

import asyncio
import base64
import importlib.util
import io
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from ser_live import StreamRecognizer, Utterance, UtteranceTracker
from ser_live.sources import DEMO_PATH
from ser_live.testing import demo_voice

DOCS = Path(__file__).parents[2] / "docs"
RATE_HZ = 16000
SAID = "it was not working yesterday"
TIMELINE = json.loads(DEMO_PATH.with_suffix(".json").read_text())["timeline"]
SPOKEN = [part for part in TIMELINE if part["kind"] == "utterance"]


def program(page: str, wanted: str, folder: Path) -> ModuleType:
    """Write the one program of a page that holds some words to a file, and import it."""
    text = (DOCS / page).read_text("utf-8")
    (found,) = (p for p in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if wanted in p)
    path = folder / f"{wanted.lower()}.py"
    path.write_text(found, "utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def utterance_of_demo(number: int, sample_rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Return one utterance of the demo voice, with half a second before and one after it."""
    voice, part = demo_voice(sample_rate_hz), SPOKEN[number]
    start, end = (round(part[f"{name}_seconds"] * sample_rate_hz) for name in ("start", "end"))
    spoken = np.round(voice[start:end] * 32767).astype(np.int16)
    return np.pad(spoken, (sample_rate_hz // 2, sample_rate_hz))


def recognized(samples: Any, model: str | None = None, **options: Any) -> list[Utterance]:
    """Return the utterances that the recognizer gives of samples that are given whole."""
    recognizer = StreamRecognizer(model, **options)
    tracker = UtteranceTracker(recognizer.uncertain_below)
    predictions = recognizer.process(samples) + recognizer.flush()
    return [one for p in predictions for one in tracker.process(p)] + tracker.flush()


def blocks(samples: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


@pytest.mark.integration
def test_the_bridge_tells_both_sides_of_a_call(tmp_path: Path, environment: dict[str, str]) -> None:
    connect = pytest.importorskip("websockets.sync.client").connect
    bridge = program("telephony.md", "hear_call", tmp_path)
    rate_hz, frame = 8000, 160
    voices = {"inbound": utterance_of_demo(0, rate_hz), "outbound": utterance_of_demo(2, rate_hz)}
    coded = {}
    for track, samples in voices.items():
        file = io.BytesIO()
        soundfile.write(file, samples, rate_hz, format="RAW", subtype="ULAW")
        coded[track] = file.getvalue()
    command = [sys.executable, bridge.__file__ or ""]
    with subprocess.Popen(
        command, env={**environment, "PORT": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        with connect(process.stderr.readline().decode().strip(), proxy=None) as service:
            tracks = {"callSid": "CA1", "tracks": ["inbound", "outbound"]}
            service.send(json.dumps({"event": "connected", "protocol": "Call"}))
            service.send(json.dumps({"event": "start", "start": tracks}))
            for start in range(0, max(map(len, coded.values())), frame):
                for track, data in coded.items():
                    # Outbound, one second passes before anything is sent.
                    at_ms = start * 1000 // rate_hz + (1000 if track == "outbound" else 0)
                    payload = base64.b64encode(data[start : start + frame]).decode()
                    media = {"track": track, "timestamp": str(at_ms), "payload": payload}
                    if payload:
                        service.send(json.dumps({"event": "media", "media": media}))
            service.send(json.dumps({"event": "stop"}))
            lines = [json.loads(process.stdout.readline()) for _ in voices]
        process.terminate()
    told = {line.pop("track"): line for line in lines}
    for track, data in coded.items():
        (wanted,) = recognized(bridge.decode_samples(data, "mulaw"), sample_rate_hz=rate_hz)
        line = told[track]
        assert line.pop("call") == "CA1"
        assert (line["label"], line["probabilities"]) == (wanted.label, wanted.probabilities)
        late = 1.0 if track == "outbound" else 0.0
        assert line["start_seconds"] == pytest.approx(wanted.start_seconds + late)


@pytest.mark.integration
def test_a_voice_bot_tells_each_talker(tmp_path: Path) -> None:
    bots = program("telephony.md", "VoiceBot", tmp_path)
    told: list[tuple[str, Utterance]] = []
    bot = bots.VoiceBot(lambda talker, utterance: told.append((talker, utterance)))
    voices = {"anna": utterance_of_demo(0, 48000), "ben": utterance_of_demo(1, 48000)}
    try:
        for talker, samples in voices.items():
            stereo = np.stack((samples, samples), axis=1)
            for frame in blocks(stereo, 960):
                bot.on_frame(talker, frame.tobytes())
        time.sleep(2 * bots.PAUSE_SECONDS)  # nothing comes while both are silent
        bot.on_frame("anna", bytes(4 * 960))
    finally:
        bot.close()
    for talker, samples in voices.items():
        (wanted,) = recognized(samples, sample_rate_hz=48000)
        assert [(one.label, one.probabilities) for name, one in told if name == talker] == [
            (wanted.label, wanted.probabilities)
        ]


def labels_of(voice: NDArray[np.int16]) -> str:
    (utterance,) = recognized(voice)
    return utterance.label


@pytest.mark.long
def test_the_pipecat_processor_tells_the_emotion_before_the_transcript(tmp_path: Path) -> None:
    frames = pytest.importorskip("pipecat.frames.frames")
    from pipecat.tests.utils import run_test  # noqa: PLC0415 - of the extra alone

    processor = program("voice-agents.md", "EmotionProcessor", tmp_path).EmotionProcessor()
    voice = utterance_of_demo(2)
    audio = [frames.InputAudioRawFrame(block.tobytes(), RATE_HZ, 1) for block in blocks(voice, 320)]
    said = frames.TranscriptionFrame(SAID, "user", "now")
    down, _ = asyncio.run(run_test(processor, frames_to_send=[*audio, said], start_timeout=60.0))
    assert [type(frame) for frame in down] == [type(frame) for frame in [*audio, said]]
    assert down[-1].text == f"[{labels_of(voice)}] {SAID}"


@pytest.mark.long
def test_the_livekit_agent_reads_the_emotion_before_the_transcript(tmp_path: Path) -> None:
    pytest.importorskip("livekit.agents")
    from livekit import rtc  # noqa: PLC0415 - of the extra alone
    from livekit.agents import Agent, AgentSession, stt  # noqa: PLC0415
    from livekit.agents.voice.io import AudioInput  # noqa: PLC0415

    voice = utterance_of_demo(2)

    class Words(stt.RecognizeStream):  # type: ignore[misc]
        """Answers when the voice has come to its end."""

        async def _run(self) -> None:
            seconds = 0.0
            async for frame in self._input_ch:
                seconds += getattr(frame, "duration", 0.0)
                if seconds > len(voice) / RATE_HZ - 0.05:
                    break
            said = stt.SpeechData(language="en", text=SAID)
            kind = stt.SpeechEventType.FINAL_TRANSCRIPT
            self._event_ch.send_nowait(stt.SpeechEvent(kind, alternatives=[said]))

    class WordsSTT(stt.STT):  # type: ignore[misc]
        def __init__(self) -> None:
            can = stt.STTCapabilities(streaming=True, interim_results=False)
            super().__init__(capabilities=can)

        async def _recognize_impl(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        def stream(self, *, conn_options: Any, **_: Any) -> Words:
            return Words(stt=self, conn_options=conn_options)

    class Room(AudioInput):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(label="a made-up room")
            self._blocks: AsyncIterator[Any] = self._frames()

        async def _frames(self) -> AsyncIterator[Any]:
            for block in blocks(voice, 320):
                yield rtc.AudioFrame(block.tobytes(), RATE_HZ, 1, len(block))
            await asyncio.Event().wait()

        async def __anext__(self) -> Any:
            return await self._blocks.__anext__()

    agent_class = program("voice-agents.md", "EmotionAgent", tmp_path).EmotionAgent

    async def talk() -> str:
        session: Any = AgentSession(stt=WordsSTT())
        heard: asyncio.Queue[str] = asyncio.Queue()
        session.on("user_input_transcribed", lambda event: heard.put_nowait(event.transcript))
        session.input.audio = Room()
        agent: Agent = agent_class(instructions="Be kind.")
        await session.start(agent)
        try:
            return await asyncio.wait_for(heard.get(), 60.0)
        finally:
            await session.aclose()

    assert asyncio.run(talk()) == f"[{labels_of(voice)}] {SAID}"


@pytest.mark.long
def test_the_wyoming_service_answers_each_utterance(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    pytest.importorskip("wyoming")
    from wyoming.audio import AudioChunk, AudioStart, AudioStop  # noqa: PLC0415
    from wyoming.client import AsyncClient  # noqa: PLC0415

    service = program("voice-agents.md", "EmotionHandler", tmp_path)
    voice = np.concatenate((utterance_of_demo(0), utterance_of_demo(2)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    async def talk() -> list[dict[str, Any]]:
        found = []
        async with AsyncClient.from_uri(uri) as client:
            await client.write_event(AudioStart(RATE_HZ, 2, 1).event())
            for block in blocks(voice, 1024):
                await client.write_event(AudioChunk(RATE_HZ, 2, 1, block.tobytes()).event())
            await client.write_event(AudioStop().event())
            while (event := await client.read_event()) and not AudioStop.is_type(event.type):
                found.append((event.type, event.data))
        assert {kind for kind, _ in found} == {"emotion"}
        return [data for _, data in found]

    with subprocess.Popen(
        [sys.executable, service.__file__ or "", uri], env=environment
    ) as process:
        for _ in range(300):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", int(uri.rpartition(":")[2]))) == 0:
                    break
            time.sleep(0.1)
        told = asyncio.run(talk())
        process.terminate()
    assert told == [one.to_dict() for one in recognized(voice)]
