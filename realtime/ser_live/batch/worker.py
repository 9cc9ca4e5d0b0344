"""Worker that recognizes recordings one after another."""

from dataclasses import dataclass
from functools import cached_property
from typing import Unpack

from ser_live.engine.channels import is_mix
from ser_live.engine.utterances import UtteranceChoice
from ser_live.errors import SerError
from ser_live.live.listener import ListenOptions, listen
from ser_live.live.recognition import Recognition, recognize_file
from ser_live.model.classifier import Classifier
from ser_live.sources.files import DEMO_PATH
from ser_live.text import sanitize


@dataclass(frozen=True, slots=True)
class FileResult:
    """Recording of many, recognized or not; can be pickled."""

    path: str
    """The recording."""
    recognition: Recognition | None = None
    """All that was recognized in it; None if it could not be."""
    error: str | None = None
    """Reason why not, on one line."""


class Worker:
    """Recognize recordings one after another with a model that is loaded once.

    A copy can be pickled and sent to another process, which loads the model for itself.

    Parameters
    ----------
    utterances, **options
        Those of `ser_live.recognize_file`.
    """

    def __init__(
        self, *, utterances: UtteranceChoice = False, **options: Unpack[ListenOptions]
    ) -> None:
        self.utterances: UtteranceChoice = utterances
        self.options = options

    def __getstate__(self) -> dict[str, object]:
        return {"options": self.options, "utterances": self.utterances}

    @cached_property
    def classifier(self) -> Classifier:
        """The model, loaded when it is asked for first, and with it the options are checked.

        Raises
        ------
        SerError
            If the model cannot be read, or an option is of no use.
        """
        is_mix(self.options.get("use_channels", "mix"))
        options: ListenOptions = {**self.options, "use_channels": "mix"}
        with listen(DEMO_PATH, utterances=self.utterances, **options) as listener:
            return listener.recognizer.classifier

    def __call__(self, path: str) -> FileResult:
        """Recognize a recording; whatever is wrong with it is told in the result."""
        options: ListenOptions = {**self.options, "model": self.classifier}
        try:
            found = recognize_file(path, utterances=self.utterances, **options)
            return FileResult(path, found)
        except SerError as error:
            return FileResult(path, error=str(error).removeprefix(f"{sanitize(path)}: "))
        except Exception as error:  # one file among thousands must not end the work on the others
            return FileResult(path, error=sanitize(f"{type(error).__name__}: {error}"))
