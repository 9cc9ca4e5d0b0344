/** One session: a source, the stream to the server, and a new stream whenever that breaks. */

import { request, SerStream } from "./client.js";
import { LevelMeter } from "./history.js";
import { closedWords, NOT_UPGRADED, refusedWords, STOPPED_AWAY } from "./words.js";

const RETRY_SECONDS = [0.5, 1, 2, 4, 5];
const FINISH_MILLISECONDS = 10_000;

/**
 * Events: `state` with {state, words}, where state is asking, connecting, live, away (trying
 * again), ending or over; `prediction` with {message, roundTripSeconds}; `started` and `event`
 * with {message}, and `fault` with {message} for errors that the stream survives.
 */
export class Session extends EventTarget {
  state = "new";

  #stream = null; // that takes audio
  #next = null; // that is being opened
  #offset = 0; // clock of the page when the stream began, in samples
  #samples = 0; // of the source so far, per channel
  #tries = 0;
  #timer = 0;

  /**
   * @param {URL} base of the server
   * @param {History} history filled by the session
   * @param {Source} source not yet open
   * @param {object} options of SerStream, and the token
   */
  constructor(base, history, source, options) {
    super();
    Object.assign(this, { base, history, source, options });
    source.addEventListener("block", ({ detail }) => this.#onBlock(detail.samples));
    source.addEventListener("lost", ({ detail }) => this.#onLost(detail));
    source.addEventListener("over", ({ detail }) => this.stop(detail.why));
  }

  /** Open the source, then the stream. */
  async start() {
    this.#enter("asking");
    try {
      await this.source.open();
    } catch (error) {
      this.#enter("over", { words: error.message });
      return;
    }
    if (this.state !== "asking") {
      await this.source.close(); // stopped while the person was asked
      return;
    }
    this.history.clear(this.source.name);
    this.meter = new LevelMeter(this.source.sampleRateHz, this.source.channels);
    this.#enter("connecting");
    this.#stream = this.#connect();
  }

  /** End it; results of everything sent come before. */
  async stop(words = "") {
    if (["ending", "over"].includes(this.state)) return;
    if (this.state === "away") words ||= STOPPED_AWAY;
    const wasAsking = this.state === "asking";
    this.#enter("ending");
    clearTimeout(this.#timer);
    if (!wasAsking) {
      await this.source.close();
      this.history.closeGap(this.#seconds);
    }
    if (this.#next !== this.#stream) this.#next?.close();
    this.#enter("over", { words: (await this.#finish()) || words });
  }

  /** Do not wait for the next try. */
  retryNow() {
    if (this.state !== "away" || this.#next) return;
    clearTimeout(this.#timer);
    this.#next = this.#connect();
  }

  get #seconds() {
    return this.#samples / this.source.sampleRateHz;
  }

  #connect() {
    const { sampleRateHz, channels } = this.source;
    const stream = new SerStream(streamUrl(this.base), { sampleRateHz, channels, ...this.options });
    const take = ({ detail }) => this.history.add(detail, this.#offset / sampleRateHz);
    stream.addEventListener("started", ({ detail }) => this.#onStarted(stream, detail));
    for (const type of ["prediction", "segment", "utterance", "event"]) {
      stream.addEventListener(type, take);
    }
    stream.addEventListener("event", ({ detail }) => this.#tell("event", { message: detail }));
    stream.addEventListener("prediction", () => this.#onPrediction(stream));
    stream.addEventListener("skipped", ({ detail }) => this.#onSkipped(detail));
    stream.addEventListener("error", ({ detail }) => {
      if (!detail.fatal) this.#tell("fault", { message: detail });
    });
    stream.addEventListener("close", ({ detail }) => this.#onClose(stream, detail));
    return (this.#next = stream);
  }

  #onStarted(stream, message) {
    if (this.#stream !== stream) {
      this.#stream = stream;
      this.#offset = this.#samples;
      this.history.closeGap(this.#seconds);
    }
    this.#next = null;
    this.#tries = 0;
    this.history.labels = message.model.labels;
    this.history.model = message.model.name;
    this.#tell("started", { message });
    if (this.state !== "ending") this.#enter("live");
  }

  #onBlock(samples) {
    this.#stream?.send(samples);
    this.#samples += samples.length / this.source.channels;
    this.history.addLevels(this.meter.process(samples));
  }

  #onLost({ frames, why }) {
    const { sampleRateHz, channels } = this.source;
    this.history.openGap(this.#seconds, why, this.#seconds + frames / sampleRateHz);
    this.#stream?.skip(frames);
    this.#samples += frames;
    this.history.addLevels(this.meter.process(new Float32Array(frames * channels)));
  }

  #onSkipped({ at_seconds: at, samples }) {
    const start = at + this.#offset / this.source.sampleRateHz;
    const why = "the way to the server is too slow";
    this.history.openGap(start, why, start + samples / this.source.sampleRateHz);
  }

  #onPrediction(stream) {
    const message = this.history.predictions.at(-1);
    this.#tell("prediction", { message, roundTripSeconds: stream.roundTripSeconds });
  }

  async #onClose(stream, closed) {
    if (this.#next === stream) this.#next = null;
    if (["ending", "over"].includes(this.state)) return;
    if (this.#stream === stream) {
      this.#stream = null;
      this.history.closeSegment();
      this.history.openGap(this.#heardUntil(closed), "the server was away");
    }
    const why = closed.started || closed.error ? closedWords(closed) : await this.#diagnose(closed);
    if (["ending", "over"].includes(this.state)) return;
    if (why.retry) this.#tryAgain(why);
    else await this.#giveUp(why);
  }

  /** Wait for the last results, but not for ever; a message if they do not come. */
  async #finish() {
    const stream = this.#stream;
    if (!stream) return "";
    const late = new Promise((resolve) => setTimeout(resolve, FINISH_MILLISECONDS, "late"));
    const end = stream.end().catch(() => "broken");
    if ((await Promise.race([end, late])) !== "late") return "";
    stream.close();
    return "The server did not send its last results.";
  }

  /** Results of everything before have come: a server that stops in order flushes. */
  #heardUntil({ ended }) {
    const offset = this.#offset / this.source.sampleRateHz;
    const answered = this.history.predictions.at(-1)?.end_seconds ?? 0;
    return Math.max(ended ? offset + ended.seconds : 0, answered, offset);
  }

  /** A browser does not tell a page why a WebSocket was refused; plain requests do. */
  async #diagnose(closed) {
    const token = this.options.token ?? "";
    try {
      // Sent with the page's origin, as a stream is, and refused for the same reasons.
      await request(new URL("v1/stream", this.base), { method: "POST", token });
    } catch (error) {
      if (error.status !== 426) return refusedWords(error, token !== "");
    }
    return closed.code === 1006 ? NOT_UPGRADED : closedWords(closed);
  }

  #tryAgain(why) {
    const seconds = RETRY_SECONDS[Math.min(this.#tries++, RETRY_SECONDS.length - 1)];
    this.#enter("away", { words: why.words });
    // Spread out: many pages lose the same server at the same time.
    const wait = 1000 * seconds * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => this.retryNow(), wait);
  }

  async #giveUp(why) {
    this.#enter("ending");
    await this.source.close();
    this.history.closeGap(this.#seconds);
    this.#enter("over", why);
  }

  #enter(state, detail = {}) {
    this.state = state;
    this.#tell("state", { state, words: "", ...detail });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Where a server takes streams. */
export function streamUrl(base) {
  const url = new URL("v1/stream", base);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}
