/** A recording that was dropped or chosen: the server decodes it, or else this browser. */

import { recognize, SerStream } from "./client.js";
import { LevelMeter } from "./history.js";
import { streamUrl } from "./session.js";
import { decode, durationOf } from "./sources.js";
import { clock, fileWords } from "./words.js";

const MOST_BYTES_FOR_LEVELS = 60e6; // a browser holds the samples of all of it at once
const MOST_SECONDS_TO_DECODE = 3 * 3600; // as above
const LEVELS_RATE_HZ = 8000;
const STREAM_RATE_HZ = 24_000; // what models hear, and room for the browser's plain filter
const BLOCK_SECONDS = 8; // timers of a page in the background go once a second
const AHEAD_SECONDS = 30;
const NOT_READ = [413, 415]; // too large, or no format of the server's
const RESULTS = ["prediction", "segment", "utterance", "event"];

export class Recording {
  #abort = new AbortController();

  /** @param {File} file */
  constructor(file) {
    this.file = file;
  }

  /**
   * Let the server recognize it, and fill a history with the answer.
   *
   * @param {function(number)} onProgress is given the share that is done, or NaN
   * @returns {Promise<string>} words on what it is
   * @throws {Error} in words; AbortError after `cancel`
   */
  async recognize(base, history, options, onProgress) {
    const { file } = this;
    const { signal } = this.#abort;
    const seconds = await durationOf(file);
    const told = [];
    const onMessage = (message) => {
      told.push(message);
      if (message.type === "prediction") onProgress(message.end_seconds / seconds);
    };
    let decoded = null;
    let ended;
    try {
      const url = new URL("v1/recognize", base);
      ended = await recognize(url, file, { ...options, signal, onMessage }).catch(async (error) => {
        if (!NOT_READ.includes(error.status) || seconds > MOST_SECONDS_TO_DECODE) throw error;
        decoded = await decode(file, STREAM_RATE_HZ);
        signal.throwIfAborted(); // nothing ends a decoder before its end
        if (decoded) return this.#stream(base, options, decoded, onMessage);
        error.message += "; this browser cannot decode it, either";
        throw error;
      });
    } catch (error) {
      if (signal.aborted) throw new DOMException("cancelled", "AbortError");
      throw Object.assign(new Error(fileWords(error, file.name, Boolean(options.token))), {
        wantsToken: error.status === 401,
      });
    }
    const started = told.find(({ type }) => type === "started");
    const rate = decoded ? "decoded by this browser" : `${started.sample_rate_hz / 1000} kHz`;
    if (!decoded && file.size < MOST_BYTES_FOR_LEVELS) decoded = await decode(file, LEVELS_RATE_HZ);
    if (signal.aborted) throw new DOMException("cancelled", "AbortError");
    history.clear(file.name);
    history.labels = started.model.labels;
    history.model = started.model.name;
    for (const one of told) if (RESULTS.includes(one.type)) history.add(one);
    history.reach(ended.seconds);
    if (decoded) {
      const meter = new LevelMeter(decoded.sampleRate, 1);
      history.addLevels(meter.process(decoded.getChannelData(0)));
    }
    return `${file.name}, ${clock(ended.seconds)}, ${rate}`;
  }

  cancel() {
    this.#abort.abort();
  }

  /** Stream what this browser has decoded, never far ahead of the results. */
  async #stream(base, options, decoded, onMessage) {
    const channels = Math.min(2, decoded.numberOfChannels);
    const form = { sampleRateHz: STREAM_RATE_HZ, channels, format: "s16le" };
    const stream = new SerStream(streamUrl(base), { ...form, ...options });
    this.#abort.signal.addEventListener("abort", () => stream.close());
    let heardSeconds = 0;
    for (const type of ["started", ...RESULTS]) {
      stream.addEventListener(type, ({ detail }) => {
        onMessage(detail);
        heardSeconds = detail.end_seconds ?? heardSeconds;
      });
    }
    const isStarted = new Promise((resolve) => stream.addEventListener("started", resolve));
    let isOver = false;
    const over = stream.finished.catch(() => {}).then(() => (isOver = true));
    await Promise.race([isStarted, over]);
    const { max_bytes_per_second: rate, max_frame_bytes: most } = stream.started?.limits ?? {};
    const step = Math.min(BLOCK_SECONDS * STREAM_RATE_HZ, Math.floor(most / (2 * channels)));
    const began = performance.now();
    for (let at = 0; at < decoded.length && !isOver; at += step) {
      const isEarly = () =>
        at / STREAM_RATE_HZ > heardSeconds + AHEAD_SECONDS ||
        performance.now() - began < (2000 * channels * at) / rate;
      while (isEarly() && !isOver) await new Promise((go) => setTimeout(go, 20));
      stream.send(interleaved(decoded, channels, at, Math.min(at + step, decoded.length)));
      await stream.drained();
    }
    return stream.end(); // which tells why, if it broke
  }
}

function interleaved(decoded, channels, from, to) {
  const block = new Int16Array((to - from) * channels);
  for (let channel = 0; channel < channels; channel++) {
    const samples = decoded.getChannelData(channel);
    for (let at = from; at < to; at++) {
      const value = Math.round(32768 * samples[at]);
      block[(at - from) * channels + channel] = Math.max(-32768, Math.min(32767, value));
    }
  }
  return block;
}
