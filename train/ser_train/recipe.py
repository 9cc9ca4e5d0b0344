"""How a network is trained: every number of it, as frozen records."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is changed at random in the power spectrum of a training window; 0 turns a part off."""

    warp: float = 0.08
    """Largest relative stretch of the frequency axis (vocal tract length)."""
    warp_probability: float = 0.5
    room_probability: float = 0.3
    """Share of windows with a reverberant tail."""
    equaliser_db: float = 4.0
    """Standard deviation of the gains of seven bands."""
    tilt_db: float = 6.0
    """Largest spectral tilt over the whole range."""
    noise_probability: float = 0.7
    lowest_snr_db: float = 8.0
    highest_snr_db: float = 45.0
    frequency_masks: int = 2
    frequency_mask_share: float = 0.16
    """Widest mask, as a share of the mel-like axis."""
    time_masks: int = 2
    time_mask_frames: int = 20
    """Longest mask."""


@dataclass(frozen=True, slots=True)
class WindowSampling:
    """How training windows are cut from a clip."""

    speeds: tuple[float, ...] = (1.0, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15)
    """Playback speeds that are kept in the cache; the first must be 1."""
    speed_probability: float = 0.75
    """Share of windows taken at a random speed."""
    shortest_seconds: float = 1.0
    short_below_seconds: float = 2.0
    longest_seconds: float = 3.0
    short_probability: float = 0.2
    """Share of batches shorter than ``short_below_seconds``."""
    onset_probability: float = 0.4
    """Share of windows of long clips that start at the speech onset."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimiser, schedule and data of one training."""

    epochs: int
    batch_clips: int
    learning_rate: float
    """Highest rate of the schedule: linear warm-up, then cosine decay to a hundredth."""
    optimiser: str = "adamw"
    """ "adamw" or "rmsprop"."""
    weight_decay: float = 0.0
    warm_up_share: float = 0.08
    """Share of all steps that the warm-up takes."""
    ema_momentum: float = 0.0
    """Exponential moving average of the weights; 0 keeps the last weights."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    """Both parameters of the beta distribution of the mixing weight."""
    windows: WindowSampling | None = None
    """None: whole clips through a front end without trainable weights, computed once."""
    augmentation: Augmentation | None = None
