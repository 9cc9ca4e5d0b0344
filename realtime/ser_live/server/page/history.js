/** Results and gaps on one clock: the page's, which goes on while the server is away. */

const LEVELS_PER_SECOND = 100;
const MOST_PREDICTIONS = 100_000; // seven hours at four a second
const LATE_SECONDS = 2;
const UNCERTAIN = "uncertain";

export class History extends EventTarget {
  constructor() {
    super();
    this.clear();
  }

  /** Forget everything: as new. */
  clear(name = "") {
    this.name = name;
    this.recognizedAt = new Date();
    this.model = "";
    this.isUnsaved = false; // it holds what cannot be had again
    this.labels = [];
    this.predictions = [];
    this.segments = [];
    this.events = [];
    this.gaps = []; // {start_seconds, end_seconds or null while it lasts, why}
    this.records = []; // all of it in the order of coming, for the export
    this.levels = new Uint8Array(60 * LEVELS_PER_SECOND);
    this.levelCount = 0;
    this.seconds = 0;
    this.#changed();
  }

  /** Take the peak levels of more audio, 0 to 1, a value per hundredth of a second. */
  addLevels(levels) {
    if (this.levelCount + levels.length > this.levels.length) {
      const larger = new Uint8Array(2 * this.levels.length + levels.length);
      larger.set(this.levels);
      this.levels = larger;
    }
    for (const level of levels) this.levels[this.levelCount++] = Math.round(255 * level);
    this.reach(this.levelCount / LEVELS_PER_SECOND);
  }

  /** Take a message of a stream that began at some time of this clock. */
  add(message, offsetSeconds = 0) {
    const record = shifted(message, offsetSeconds);
    if (message.type === "prediction") {
      this.predictions.push(record);
      if (this.predictions.length > MOST_PREDICTIONS) this.predictions.shift();
      this.reach(record.end_seconds);
    }
    if (message.type === "segment") this.segments.push(record);
    if (message.type === "event") this.events.push(record);
    this.records.push(record);
    if (this.records.length > 2 * MOST_PREDICTIONS) this.records.shift();
    this.#changed();
  }

  /** A stream broke: the segment that never came ends with what is known. */
  closeSegment() {
    const { openSegment } = this;
    if (openSegment) this.add({ type: "segment", ...openSegment });
  }

  /** Audio is missing from here on, or for so long. */
  openGap(startSeconds, why, endSeconds = null) {
    const last = this.gaps.at(-1);
    if (last && last.end_seconds === null) return;
    if (last && last.end_seconds >= startSeconds) {
      last.start_seconds = Math.min(last.start_seconds, startSeconds);
      last.end_seconds = endSeconds;
    } else this.gaps.push({ start_seconds: startSeconds, end_seconds: endSeconds, why });
    this.#changed();
  }

  /** Audio is recognized again. */
  closeGap(endSeconds) {
    const last = this.gaps.at(-1);
    if (!last || last.end_seconds !== null) return;
    last.end_seconds = Math.max(endSeconds, last.start_seconds);
    const seconds = last.end_seconds - last.start_seconds;
    const detail = `${seconds.toFixed(1)} s of audio are missing: ${last.why}`;
    this.add({ type: "event", event: "gap", at_seconds: last.start_seconds, detail });
  }

  reach(seconds) {
    if (seconds > this.seconds) this.seconds = seconds;
    this.#changed();
  }

  /** Missing audio, in all. */
  get lostSeconds() {
    const lengths = this.gaps.map((gap) => (gap.end_seconds ?? this.seconds) - gap.start_seconds);
    return lengths.reduce((sum, length) => sum + length, 0);
  }

  /** The run of one label that no segment has come for yet, or null. */
  get openSegment() {
    const { predictions } = this;
    const last = predictions.at(-1);
    const closed = this.segments.at(-1)?.end_seconds ?? 0;
    if (!last || labelOf(last) === null || last.end_seconds <= closed) return null;
    let first = predictions.length - 1;
    const belongs = (at) =>
      at >= 0 &&
      labelOf(predictions[at]) === labelOf(last) &&
      predictions[at].end_seconds > closed &&
      predictions[at].end_seconds >= predictions[at + 1].start_seconds;
    while (belongs(first - 1)) first -= 1;
    const run = predictions.slice(first);
    const before = predictions[first - 1];
    const isLater = before && labelOf(before) !== null && before.end_seconds <= closed;
    return {
      start_seconds: Math.max(isLater ? before.end_seconds : run[0].start_seconds, closed),
      end_seconds: last.end_seconds,
      label: labelOf(last),
      mean_confidence: run.reduce((sum, one) => sum + one.confidence, 0) / run.length,
    };
  }

  /** Segments up to now, the open one too. */
  get allSegments() {
    const { segments, openSegment } = this;
    return openSegment ? [...segments, openSegment] : segments;
  }

  /** The prediction whose hop a time lies in, or the last just before; null: in a gap. */
  at(seconds) {
    const isIn = ({ start_seconds: start, end_seconds: end }) =>
      seconds >= start && (seconds < (end ?? Infinity) || end === this.seconds);
    if (this.gaps.some(isIn)) return null;
    const found = this.predictions[firstBehind(this.predictions, seconds)];
    const last = this.predictions.at(-1); // audio behind it waits for its hop, or ends
    return found ?? (last?.end_seconds > seconds - LATE_SECONDS ? last : undefined);
  }

  /** The greatest level between two times, 0 to 1. */
  level(fromSeconds, toSeconds) {
    const from = Math.max(0, Math.floor(fromSeconds * LEVELS_PER_SECOND));
    const wanted = Math.max(from + 1, Math.ceil(toSeconds * LEVELS_PER_SECOND));
    const to = Math.min(wanted, this.levelCount);
    let most = 0;
    for (let at = from; at < to; at++) if (this.levels[at] > most) most = this.levels[at];
    return most / 255;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Measures the peak levels of blocks of samples, whatever their length. */
export class LevelMeter {
  #frames = 0;
  #peak = 0;

  constructor(sampleRateHz, channels) {
    this.step = sampleRateHz / LEVELS_PER_SECOND;
    this.channels = channels;
    this.next = this.step;
  }

  /** Give the levels that more interleaved samples complete. */
  process(samples) {
    const levels = [];
    for (let at = 0; at < samples.length; at += this.channels) {
      for (let channel = 0; channel < this.channels; channel++) {
        const size = Math.abs(samples[at + channel]);
        if (size > this.#peak) this.#peak = size;
      }
      if (++this.#frames >= this.next) {
        levels.push(Math.min(1, this.#peak));
        this.#peak = 0;
        this.next += this.step;
      }
    }
    return levels;
  }
}

/** The label that a prediction stands for on a timeline, or null. */
export function labelOf({ state, label }) {
  if (state === "uncertain") return UNCERTAIN;
  return state === "speech" ? label : null;
}

/** Index of the first record that ends behind a time. */
export function firstBehind(records, seconds) {
  let [low, high] = [0, records.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (records[middle].end_seconds > seconds) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Seconds of each label of segments between two times. */
export function secondsOf(segments, fromSeconds, toSeconds) {
  const sums = new Map();
  for (let at = firstBehind(segments, fromSeconds); segments[at]?.start_seconds < toSeconds; at++) {
    const { start_seconds: start, end_seconds: end, label } = segments[at];
    const seconds = Math.min(end, toSeconds) - Math.max(start, fromSeconds);
    sums.set(label, (sums.get(label) ?? 0) + seconds);
  }
  return sums;
}

function shifted(message, offsetSeconds) {
  const record = { ...message };
  delete record.number;
  for (const name of ["start_seconds", "end_seconds", "at_seconds"]) {
    if (name in record) record[name] = precise(record[name] + offsetSeconds);
  }
  return record;
}

function precise(seconds) {
  return Math.round(seconds * 1e9) / 1e9; // sums of clocks would end in ...0000001
}
