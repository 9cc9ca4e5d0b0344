"""Power spectrum of samples: the one short-time Fourier transform of the product."""

import numpy as np
from numpy.typing import NDArray

from ser_live.model.card import SpectrumSpec


class PowerSpectrum:
    """Turn a stream of samples into frames of power spectrum, without padding.

    Frame ``i`` covers samples ``[i * hop_samples, i * hop_samples + fft_samples)`` and holds
    ``abs(rfft(hann * samples)) ** 2``. Any way of cutting the stream into calls gives the same
    frames, bit for bit; a whole recording is a stream of one call.

    Parameters
    ----------
    spec : SpectrumSpec
        Length of the transform and hop, both in samples.
    """

    def __init__(self, spec: SpectrumSpec) -> None:
        self.spec = spec
        positions = np.arange(spec.fft_samples) / spec.fft_samples
        self._hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * positions)).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Clear all samples: as new."""
        self._held = np.empty(0, np.float32)

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples and return the frames that they complete.

        Parameters
        ----------
        samples : ndarray, shape (n,), float32
            Mono samples, any ``n >= 0``; copied where they are kept.

        Returns
        -------
        ndarray, shape (frames, bins), float32
            Power; ``frames`` may be 0.
        """
        self._held = np.concatenate((self._held, samples))
        size, hop = self.spec.fft_samples, self.spec.hop_samples
        frames = self.spec.frames_in(self._held.size)
        if frames == 0:
            return np.empty((0, self.spec.bins), np.float32)
        # sliding_window_view is this in a hundred steps, which also churn memory.
        step_bytes = self._held.itemsize
        strides = (hop * step_bytes, step_bytes)
        windows: NDArray[np.float32] = np.ndarray(
            (frames, size), np.float32, self._held, strides=strides
        )
        spectrum = np.fft.rfft(windows * self._hann, axis=1)
        # A copy, as a view would keep all samples of the call alive.
        self._held = self._held[frames * hop :].copy()
        power: NDArray[np.float32] = np.square(spectrum.real) + np.square(spectrum.imag)
        return power
