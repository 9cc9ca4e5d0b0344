"""Real-time speech emotion recognition.

``StreamRecognizer`` turns any stream of samples into predictions; ``ModelCard`` says what a
model is; ``SerError`` is the one error that a caller's mistake raises.
"""

__version__ = "0.1.0"
