"""Random changes of power spectra that leave the emotion as it is."""

import functools

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.spectrum import PowerSpectrum
from ser_live.model.card import SAMPLE_RATE_HZ, SpectrumSpec
from ser_train.models.recipe import Augmentation

_MASKED = np.float32(1e-3)
"""Gain of what is masked."""
_NOISE_SECONDS = 60


class Augmenter:
    """Vary windows of power spectrum: what a voice, a room and a microphone may change.

    Parameters
    ----------
    settings : Augmentation
    spec : SpectrumSpec
    """

    def __init__(self, settings: Augmentation, spec: SpectrumSpec) -> None:
        self._settings = settings
        self._bins = np.arange(spec.bins)
        frequencies_hz = self._bins * (SAMPLE_RATE_HZ / spec.fft_samples)
        self._frequencies_hz = frequencies_hz
        self._octaves = np.log2(np.maximum(frequencies_hz, frequencies_hz[1]) / 1000.0)
        mels = np.log1p(frequencies_hz / 700.0)
        self._mel_position = mels / mels[-1]
        self._frame_seconds = spec.hop_samples / SAMPLE_RATE_HZ
        self._noise: NDArray[np.float32] = _white_noise(spec)

    def process(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return a changed copy.

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
        power /= power.mean() + 1e-12
        if random.random() < settings.noise_probability:
            snr_db = random.uniform(*settings.noise_snr_db)
            power += self._coloured_noise(len(power), random) * np.float32(10 ** (-snr_db / 10))
        if settings.channel_probability and random.random() < settings.channel_probability:
            power *= self._channel(random)
        self._mask(power, random)
        return power

    def babbled(
        self, windows: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Mix other windows of the batch behind some: power adds like sounds do.

        Parameters
        ----------
        windows : ndarray, shape (clips, frames, bins), float32
            Of a mean power of about 1 each.
        random : Generator

        Returns
        -------
        ndarray, shape (clips, frames, bins), float32
        """
        settings, count = self._settings, len(windows)
        if not settings.babble_probability or count < 2:
            return windows
        mixed = windows.copy()
        for own in np.flatnonzero(random.random(count) < settings.babble_probability):
            others = np.delete(np.arange(count), own)
            voices = int(random.integers(settings.babble_voices[0], settings.babble_voices[1] + 1))
            heard = random.permutation(others)[:voices]
            snr_db = random.uniform(*settings.babble_snr_db)
            mixed[own] += windows[heard].mean(axis=0) * np.float32(10 ** (-snr_db / 10))
        return mixed

    def _warped(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Stretch the frequency axis (Jaitly and Hinton 2013, VTLP)."""
        factor = random.uniform(1 - self._settings.warp_share, 1 + self._settings.warp_share)
        source = np.minimum(self._bins * factor, self._bins[-1] - 1e-3)
        below = source.astype(int)
        share = (source - below).astype(np.float32)
        warped: NDArray[np.float32] = power[:, below] * (1 - share) + power[:, below + 1] * share
        return warped

    def _reverberated(
        self, power: NDArray[np.float32], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Add an exponentially decaying tail of energy."""
        from scipy.signal import lfilter  # noqa: PLC0415 - it takes a second

        seconds = random.uniform(*self._settings.reverberation_seconds)
        gain = np.float32(10 ** (random.uniform(*self._settings.reverberation_db) / 10))
        decay = 10 ** (-6 * self._frame_seconds / seconds)
        tail = lfilter([0.0, 1 - decay], [1.0, -decay], power, axis=0)
        result: NDArray[np.float32] = power + gain * tail.astype(np.float32)
        return result

    def _equaliser(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Draw a smooth gain for each bin."""
        knots_db = random.normal(0.0, self._settings.equaliser_db, 7)
        tilt_db = random.uniform(-1, 1) * self._settings.tilt_db_per_octave * self._octaves
        gain_db = np.interp(self._mel_position, np.linspace(0, 1, 7), knots_db) + tilt_db
        return _power_gain(gain_db)

    def _coloured_noise(self, frames: int, random: np.random.Generator) -> NDArray[np.float32]:
        """Draw stationary noise of mean power 1."""
        start = int(random.integers(0, len(self._noise) - frames))
        tilt_db = random.uniform(*self._settings.noise_tilt_db_per_octave)
        colour = _power_gain(tilt_db * self._octaves)
        noise: NDArray[np.float32] = self._noise[start : start + frames] * (colour / colour.mean())
        return noise

    def _channel(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Draw the gains of a channel that loses low and high frequencies, as telephones do."""
        low_hz = random.uniform(*self._settings.channel_low_hz)
        high_hz = random.uniform(*self._settings.channel_high_hz)
        loss_db = random.uniform(*self._settings.channel_loss_db)
        below = (low_hz - self._frequencies_hz) / (0.4 * low_hz)
        above = (self._frequencies_hz - high_hz) / (0.15 * high_hz)
        return _power_gain(-loss_db * np.clip(np.maximum(below, above), 0.0, 1.0))

    def _mask(self, power: NDArray[np.float32], random: np.random.Generator) -> None:
        """Attenuate one band and one stretch of time in place (Park et al. 2019, SpecAugment)."""
        width = random.uniform(0, self._settings.mel_mask_share)
        low = random.uniform(0, 1 - width)
        band = (self._mel_position >= low) & (self._mel_position < low + width)
        power[:, band] *= _MASKED
        longest = round(self._settings.time_mask_seconds / self._frame_seconds)
        length = int(random.integers(0, longest + 1))
        start = int(random.integers(0, max(1, len(power) - length)))
        power[start : start + length] *= _MASKED


def _power_gain(gain_db: NDArray[np.float64]) -> NDArray[np.float32]:
    gain: NDArray[np.float32] = (10 ** (gain_db / 10)).astype(np.float32)
    return gain


@functools.cache
def _white_noise(spec: SpectrumSpec) -> NDArray[np.float32]:
    samples = np.random.default_rng(1).standard_normal(_NOISE_SECONDS * SAMPLE_RATE_HZ)
    power = PowerSpectrum(spec).process(samples.astype(np.float32))
    noise: NDArray[np.float32] = power / power.mean()
    return noise
