"""The model card as a Markdown page, so that page and file cannot differ."""

from collections.abc import Iterator, Sequence

from ser_live.model.card import RECALL_OF, Metric, ModelCard

_RESPONSIBLE_USE = """\
It hears acted emotion in a voice, not what a person feels. It is no lie detector, says nothing
about character or health, and must not decide anything about a person. Tell people that it
listens. The European AI Act (Regulation (EU) 2024/1689, Article 5) bans emotion recognition at
work and in schools."""


def card_as_page(card: ModelCard, parameters: int, bytes_: int) -> str:
    """Return the page for people that belongs to a model file."""
    spectrum, window, smoothing = card.spectrum, card.window, card.smoothing
    corpora = "\n".join(
        f"| {c.name} | {c.clips} | {c.speakers} | {c.licence} |" for c in card.corpora
    )
    metrics = "\n".join(_figures(card.metrics))
    return f"""\
# {card.name}

{card.description}

- Labels: {", ".join(card.labels)}
- Network: `{card.network}`, {parameters:,} parameters, {bytes_ / 1e6:.1f} MB
- Licence of the weights: {card.licence}
- Hears: 16 kHz mono, frames of {spectrum.fft_samples} samples every {spectrum.hop_samples}, \
windows of {window.warm_up_seconds:g} to {window.seconds:g} s from the speech onset
- Smoothing: {smoothing.seconds:g} s, a label stays at least \
{smoothing.minimum_dwell_seconds:g} s; "uncertain" below {smoothing.uncertain_below:.2f}
- Everyday prior: {_prior(card)}{_encoder(card)}
- Calibration: temperature {card.calibration.temperature:g} ({card.calibration.method})

## Trained on

| corpus | clips | speakers | licence |
|---|---|---|---|
{corpora}

## Figures

{metrics}

UAR: unweighted average recall; WA: weighted accuracy; ECE: expected calibration error, 15 bins,
debiased: its root mean square less what chance adds (negative: less than chance alone makes);
mass: mean probability of labels that no such clip has. Protocol and clips are named with each.

## Limits

{card.limits}

## Responsible use

{_RESPONSIBLE_USE}
"""


def _prior(card: ModelCard) -> str:
    """Return the odds that the card gives before anything is heard."""
    odds = [f"{label} x {odds:g}" for label, odds in card.prior.items()]
    if card.ordinary_odds:
        odds.append(f"ordinary talk (which is neutral) x {card.ordinary_odds:g}")
    return ", ".join(odds) or "even"


def _encoder(card: ModelCard) -> str:
    encoder = card.encoder
    if encoder is None:
        return ""
    return f"\n- Pretrained encoder: {encoder.name}, {encoder.licence}, SHA-256 {encoder.sha256}"


def _figures(metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield a paragraph for each protocol."""
    protocols: dict[tuple[str, int, bool], list[Metric]] = {}
    for metric in metrics:
        key = (metric.protocol, metric.count, metric.speaker_independent)
        protocols.setdefault(key, []).append(metric)
    for (protocol, count, speaker_independent), own in protocols.items():
        whose = "speaker-independent" if speaker_independent else "speaker-dependent"
        who = "" if protocol.startswith(whose) else f", {whose}"
        values = [_value(metric) for metric in own if not metric.name.startswith(RECALL_OF)]
        yield f"- **{', '.join(values)}** on {count} clips{who}: {protocol}"
        recalls = [_value(metric) for metric in own if metric.name.startswith(RECALL_OF)]
        if recalls:
            yield f"  - recall: {', '.join(text.removeprefix(RECALL_OF) for text in recalls)}"


def _value(metric: Metric) -> str:
    value = f"{metric.name} {100 * metric.value:.1f} %"
    if metric.spread is None:
        return value
    return f"{value} (± {100 * metric.spread:.1f} over {metric.spread_over})"
