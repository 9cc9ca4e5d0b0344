/**
 * A client of ser-serve: emotion in live speech, over the WebSocket protocol `ser.v1`.
 *
 *     import { SerStream } from "./client.js";
 *
 *     const url = "ws://127.0.0.1:8321/v1/stream";
 *     const stream = new SerStream(url, { sampleRateHz: 48000 });
 *     stream.addEventListener("prediction", ({ detail }) => console.log(detail.label));
 *     stream.send(samples); // Float32Array in [-1, 1], any length, as often as you like
 *     const ended = await stream.end(); // all results have come before
 *
 * Plain JavaScript without dependencies, for whatever has WebSocket and EventTarget.
 * The messages are described by the JSON Schema at /v1/schema of the server.
 */

const PROTOCOL = "ser.v1";
/** Of a sample in a format like s16le or mulaw. */
const bytesPerSample = (format) => Number(/\d+/.exec(format)?.[0] ?? 8) / 8;
const MOST_UNSENT_SECONDS = 2; // older audio would only make every later result late

/** What `start` and the query of `/v1/recognize` call the options. */
const OPTION_NAMES = {
  model: "model",
  hopSeconds: "hop_seconds",
  windowSeconds: "window_seconds",
  smoothingSeconds: "smoothing_seconds",
  vad: "vad",
  prior: "prior",
  labels: "labels",
  useChannels: "use_channels",
  utterances: "utterances",
};

/** A failure that the server, or the way to it, is the reason of. */
export class SerServerError extends Error {
  /**
   * @param {string} detail one line: what came, what was wanted, what to do
   * @param {{status?: number, code?: number|string}} [how] HTTP status, or close or error code
   */
  constructor(detail, { status = 0, code = 0 } = {}) {
    super(detail);
    this.name = "SerServerError";
    this.status = status;
    this.code = code;
  }
}

/**
 * One stream of audio to a server, and what it says of it.
 *
 * Every message of the server becomes a CustomEvent of its type whose `detail` is the message:
 * `started`, `prediction`, `segment`, `utterance`, `event`, `error` and `ended`. Two more tell of the stream:
 *
 * - `skipped`, detail `{at_seconds, samples}`: audio that was lost on this side, see `send`;
 * - `close`, detail `{code, reason, started, ended, error}`: the connection is over; `started` and
 *   `ended` are these messages or null, `error` is the fatal error that came before, or null.
 */
export class SerStream extends EventTarget {
  /** Messages `started` and `ended` and the fatal `error`, null until they come. */
  started = null;
  ended = null;
  error = null;
  /** Samples per channel that were given to the socket, lost, and both. */
  sentSamples = 0;
  lostSamples = 0;
  /** Seconds from giving the last sample that the latest prediction rests on to its coming. */
  roundTripSeconds = null;

  #socket;
  #start;
  #frameBytes;
  #waiting = []; // blocks that came before the connection was open
  #waitingSamples = 0;
  #unreported = 0; // lost samples that no skip has reported
  #given = []; // [clock in samples after the block, when], for the round trip
  #settle;

  /**
   * @param {string|URL} url of /v1/stream, ws: or wss:
   * @param {object} options
   * @param {number} options.sampleRateHz of what `send` is given
   * @param {number} [options.channels] interleaved; mixed down, but for useChannels
   * @param {string} [options.format] f32le: Float32Array in [-1, 1]; s16le: Int16Array; mulaw or
   *     another one of the server's: Uint8Array of it
   * @param {string} [options.token] where the server wants one
   * @param {string} [options.model] a name of /v1/models
   * @param {number} [options.hopSeconds] from one prediction to the next
   * @param {number} [options.windowSeconds] most audio that a prediction rests on
   * @param {number} [options.smoothingSeconds] time constant; 0: none
   * @param {boolean} [options.vad] false: everything is speech
   * @param {string|object} [options.prior] "everyday", "even", or odds by label
   * @param {string[]} [options.labels] whose probabilities are sent
   * @param {string} [options.useChannels] split, left, right or 1,3: channels apart
   * @param {boolean|"provisional"} [options.utterances] also one answer for all between silences
   */
  constructor(url, { sampleRateHz, channels = 1, format = "f32le", token = "", ...options }) {
    super();
    this.sampleRateHz = sampleRateHz;
    this.#frameBytes = channels * bytesPerSample(format);
    this.#start = { type: "start", sample_rate_hz: sampleRateHz, channels, format };
    Object.assign(this.#start, named(options));
    this.finished = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.finished.catch(() => {}); // a caller that awaits it gets the error; none has to
    this.#socket = new WebSocket(url, token ? [PROTOCOL, `bearer.${token}`] : [PROTOCOL]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("open", () => this.#onOpen());
    this.#socket.addEventListener("message", ({ data }) => this.#onMessage(JSON.parse(data)));
    this.#socket.addEventListener("close", ({ code, reason }) => this.#onClose(code, reason));
  }

  /** Samples per channel on the stream's own clock. */
  get clockSamples() {
    return this.sentSamples + this.lostSamples;
  }

  /**
   * Send audio; what comes before the connection is open waits for it.
   *
   * @param {Float32Array|Int16Array|Uint8Array} samples interleaved, whole frames of all channels
   * @returns {boolean} false if the network is too slow and the block was left out instead: the
   *     server is told how many samples are missing, so that its clock stays right
   */
  send(samples) {
    const count = samples.byteLength / this.#frameBytes;
    if (!Number.isInteger(count)) {
      throw new RangeError(`${samples.length} samples: wanted whole frames of all channels`);
    }
    if (this.#socket.readyState > WebSocket.OPEN || !this.#hasRoom(count)) {
      this.skip(count);
      return false;
    }
    if (this.#socket.readyState === WebSocket.CONNECTING) {
      this.#waiting.push(samples.slice());
      this.#waitingSamples += count;
    } else {
      this.#give(samples);
    }
    return true;
  }

  /**
   * Wait until the network has taken what was sent: for audio that comes faster than real time.
   *
   * @returns {Promise<void>}
   */
  async drained() {
    while (this.#waitingSamples || (this.#isOpen && this.#socket.bufferedAmount)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /**
   * Tell of audio that was lost before it came here; the clock goes on.
   *
   * @param {number} samples per channel
   */
  skip(samples) {
    const atSeconds = (this.clockSamples + this.#waitingSamples) / this.sampleRateHz;
    this.#unreported += samples;
    this.lostSamples += samples;
    this.#dispatch("skipped", { at_seconds: atSeconds, samples });
  }

  /**
   * Say that no more audio comes.
   *
   * @returns {Promise<object>} the message `ended`, after everything that was due; rejected with a
   *     SerServerError if the connection breaks before
   */
  end() {
    const isOpening = this.#socket.readyState === WebSocket.CONNECTING;
    if (isOpening) this.#socket.addEventListener("open", () => this.#say({ type: "end" }));
    else if (this.#isOpen) this.#report().#say({ type: "end" });
    return this.finished;
  }

  /** Let go of the connection at once; what is due is not waited for. */
  close() {
    this.#socket.close(1000);
  }

  get #isOpen() {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  #onOpen() {
    this.#say(this.#start);
    for (const samples of this.#waiting.splice(0)) this.#give(samples);
    this.#waitingSamples = 0;
  }

  #onMessage(message) {
    if (message.type === "started") this.started = message;
    if (message.type === "ended") this.ended = message;
    if (message.type === "error" && message.fatal) this.error = message;
    if (message.type === "prediction") this.#clockRoundTrip(message.end_seconds);
    this.#dispatch(message.type, message);
    if (message.type === "ended") this.#settle.resolve(message);
  }

  #onClose(code, reason) {
    this.#waitingSamples = 0; // whatever waited is lost with the connection
    const { started, ended, error } = this;
    const why = error?.detail || reason || `the connection ended with code ${code}`;
    this.#settle.reject(new SerServerError(why, { code }));
    this.#dispatch("close", { code, reason, started, ended, error });
  }

  #hasRoom(samples) {
    const waiting = this.#socket.bufferedAmount / this.#frameBytes + this.#waitingSamples;
    return waiting === 0 || waiting + samples <= MOST_UNSENT_SECONDS * this.sampleRateHz;
  }

  #give(samples) {
    this.#report().#socket.send(samples);
    this.sentSamples += samples.byteLength / this.#frameBytes;
    this.#given.push([this.clockSamples, performance.now()]);
  }

  #report() {
    if (this.#unreported) this.#say({ type: "skip", samples: this.#unreported });
    this.#unreported = 0;
    return this;
  }

  #say(message) {
    this.#socket.send(JSON.stringify(message));
  }

  #clockRoundTrip(endSeconds) {
    const endSamples = Math.floor(endSeconds * this.sampleRateHz);
    while (this.#given.length && this.#given[0][0] < endSamples) this.#given.shift();
    const block = this.#given[0];
    this.roundTripSeconds = block ? (performance.now() - block[1]) / 1000 : null;
  }

  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Recognize a whole recording.
 *
 * @param {string|URL} url of /v1/recognize
 * @param {Blob|ArrayBuffer} recording an audio file
 * @param {object} [options] token, signal (of an AbortController), and those of SerStream
 * @param {function(object)} [options.onMessage] is given `started`, results as they come, `ended`
 * @returns {Promise<object>} model, sample_rate_hz, channels, seconds, and as lists predictions,
 *     segments, events and, where they were asked for, utterances; with onMessage: `ended`
 * @throws {SerServerError}
 */
export async function recognize(url, recording, { token = "", signal, onMessage, ...options } = {}) {
  const address = new URL(url);
  for (const [name, value] of Object.entries(named(options))) {
    for (const one of [value].flat()) {
      // Odds of a prior; a text stays as it is.
      address.searchParams.append(name, one instanceof Object ? JSON.stringify(one) : one);
    }
  }
  const headers = { "Content-Type": recording.type || "application/octet-stream" };
  const sent = { token, signal, method: "POST", body: recording, headers };
  if (!onMessage) return request(address, sent);
  headers.Accept = "application/x-ndjson";
  const answer = await answerOf(address, sent);
  let last = {};
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const read = () => reader.read().catch(() => ({ done: true }));
  for (let part = await read(); !part.done; part = await read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) onMessage((last = JSON.parse(line)));
  }
  signal?.throwIfAborted();
  if (last.type === "ended") return last;
  throw new SerServerError(last.detail ?? "the answer broke off", { code: last.code });
}

/**
 * Ask the server for a JSON document, and turn its refusals into errors.
 *
 * @param {string|URL} url
 * @param {object} [options] token, and those of fetch
 * @returns {Promise<object>}
 * @throws {SerServerError} status 0: it did not answer
 */
export async function request(url, options) {
  return (await answerOf(url, options)).json();
}

async function answerOf(url, { token = "", headers = {}, ...options } = {}) {
  if (token) headers = { ...headers, Authorization: `Bearer ${token}` };
  let answer;
  try {
    answer = await fetch(url, { cache: "no-store", ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new SerServerError("the server does not answer");
  }
  if (answer.ok) return answer;
  const { status } = answer;
  const body = await answer.json().catch(() => ({}));
  throw new SerServerError(body.detail || body.title || `the server says ${status}`, { status });
}

function named(options) {
  const given = Object.entries(options).filter(([, value]) => (value ?? null) !== null);
  for (const [name] of given) {
    if (!(name in OPTION_NAMES)) throw new TypeError(`${name}: no option of the server`);
  }
  return Object.fromEntries(given.map(([name, value]) => [OPTION_NAMES[name], value]));
}
