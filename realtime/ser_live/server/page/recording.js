/** A recording that was dropped or chosen: the server decodes it, and all of it is shown. */

import { recognize } from "./client.js";
import { LevelMeter } from "./history.js";
import { decodeForLevels } from "./sources.js";
import { clock, fileWords } from "./words.js";

const MOST_BYTES_FOR_LEVELS = 60e6; // a browser holds the samples of all of it at once

export class Recording {
  #abort = new AbortController();

  /** @param {File} file */
  constructor(file) {
    this.file = file;
  }

  /**
   * Let the server recognize it, and fill a history with the answer.
   *
   * @returns {Promise<string>} words on what it is
   * @throws {Error} in words; AbortError after `cancel`
   */
  async recognize(base, history, options) {
    const { file } = this;
    const url = new URL("v1/recognize", base);
    let answer;
    try {
      answer = await recognize(url, file, { ...options, signal: this.#abort.signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error(fileWords(error, file.name, Boolean(options.token))), {
        wantsToken: error.status === 401,
      });
    }
    const levels = await this.#levels();
    if (this.#abort.signal.aborted) throw new DOMException("cancelled", "AbortError");
    history.clear(file.name);
    fill(history, answer);
    if (levels) history.addLevels(levels);
    return `${file.name}, ${clock(answer.seconds)}, ${answer.sample_rate_hz / 1000} kHz`;
  }

  cancel() {
    this.#abort.abort();
  }

  async #levels() {
    if (this.file.size > MOST_BYTES_FOR_LEVELS) return null;
    const decoded = await decodeForLevels(this.file);
    if (!decoded) return null;
    return new LevelMeter(decoded.sampleRateHz, 1).process(decoded.samples);
  }
}

function fill(history, { predictions, segments, utterances = [], events, seconds }) {
  const known = predictions.find((one) => one.probabilities)?.probabilities ?? {};
  history.labels = Object.keys(known);
  const records = [...predictions, ...segments, ...utterances, ...events];
  const when = (one) => one.end_seconds ?? one.at_seconds;
  records.sort((one, other) => when(one) - when(other));
  for (const message of records) history.add(message);
  history.reach(seconds);
}
