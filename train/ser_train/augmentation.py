"""Random changes of power spectra that leave the emotion as it is."""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from ser_live.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_live.spectrum import PowerSpectrum
from ser_train.recipe import Augmentation

_MASKED = 1e-3
_NOISE_SECONDS = 60


class Augmenter:
    """Change windows of power spectrum at random.

    Parameters
    ----------
    settings : Augmentation
    spec : SpectrumSpec
    """

    def __init__(self, settings: Augmentation, spec: SpectrumSpec) -> None:
        self._settings = settings
        self._bins = np.arange(spec.bins)
        frequencies_hz = self._bins * (SAMPLE_RATE_HZ / spec.fft_samples)
        self._octaves = np.log2(np.maximum(frequencies_hz, 30.0) / 1000.0)
        self._mel_like = np.log2(1.0 + frequencies_hz / 690.0)
        self._mel_like /= self._mel_like[-1]
        self._seconds_per_frame = spec.hop_samples / SAMPLE_RATE_HZ
        self._noise: NDArray[np.float32] = _white_noise(spec)

    def process(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Give a changed copy.

        Parameters
        ----------
        power : ndarray, shape (frames, bins), float32
        random : Generator
            Owns all the randomness.

        Returns
        -------
        ndarray, shape (frames, bins), float32
            With a mean power of about 1.
        """
        settings = self._settings
        if random.random() < settings.warp_probability:
            power = self._warped(power, random)
        if random.random() < settings.room_probability:
            power = self._reverberated(power, random)
        power = power * self._equaliser(random)
        power = power / (power.mean() + 1e-12)
        if random.random() < settings.noise_probability:
            power = power + self._coloured_noise(len(power), random)
        self._mask(power, random)
        return power

    def _warped(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Stretch the frequency axis (Jaitly and Hinton 2013, VTLP)."""
        stretch = 1.0 + random.uniform(-self._settings.warp, self._settings.warp)
        source = np.minimum(self._bins * stretch, self._bins[-1] - 1e-3)
        below = source.astype(int)
        share = (source - below).astype(np.float32)
        warped: NDArray[np.float32] = power[:, below] * (1.0 - share) + power[:, below + 1] * share
        return warped

    def _reverberated(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Add an exponentially decaying tail of energy."""
        reverberation_seconds = random.uniform(0.1, 0.6)
        decay = 10.0 ** (-6.0 * self._seconds_per_frame / reverberation_seconds)
        gain = 10.0 ** (-random.uniform(3.0, 15.0) / 10.0)
        tail = lfilter([0.0, 1.0 - decay], [1.0, -decay], power, axis=0)
        result: NDArray[np.float32] = power + np.float32(gain) * tail.astype(np.float32)
        return result

    def _equaliser(self, random: np.random.Generator) -> NDArray[np.float32]:
        knots_db = random.normal(0.0, self._settings.equaliser_db, 7)
        gains_db = np.interp(self._mel_like, np.linspace(0.0, 1.0, 7), knots_db)
        tilt_db = random.uniform(-self._settings.tilt_db, self._settings.tilt_db)
        gains_db += tilt_db / 5.0 * self._octaves
        gains: NDArray[np.float32] = (10.0 ** (gains_db / 10.0)).astype(np.float32)
        return gains

    def _coloured_noise(self, frames: int, random: np.random.Generator) -> NDArray[np.float32]:
        """Draw noise that falls 0 to 9 dB per octave, at a random level under speech."""
        start = int(random.integers(0, len(self._noise) - frames))
        colour = 10.0 ** (random.uniform(-9.0, 0.0) * self._octaves / 10.0)
        snr_db = random.uniform(self._settings.lowest_snr_db, self._settings.highest_snr_db)
        shape = (colour / colour.mean() * 10.0 ** (-snr_db / 10.0)).astype(np.float32)
        noise: NDArray[np.float32] = self._noise[start : start + frames] * shape
        return noise

    def _mask(self, power: NDArray[np.float32], random: np.random.Generator) -> None:
        """Silence bands and moments in place (Park et al. 2019, SpecAugment)."""
        for _ in range(self._settings.frequency_masks):
            width = random.uniform(0.0, self._settings.frequency_mask_share)
            low = random.uniform(0.0, 1.0 - width)
            power[:, (self._mel_like >= low) & (self._mel_like < low + width)] *= _MASKED
        for _ in range(self._settings.time_masks):
            length = random.integers(0, self._settings.time_mask_frames + 1)
            start = random.integers(0, max(1, len(power) - length))
            power[start : start + length] *= _MASKED


@functools.cache
def _white_noise(spec: SpectrumSpec) -> NDArray[np.float32]:
    samples = np.random.default_rng(1).standard_normal(_NOISE_SECONDS * SAMPLE_RATE_HZ)
    power = PowerSpectrum(spec).process(samples.astype(np.float32))
    noise: NDArray[np.float32] = power / power.mean()
    return noise
