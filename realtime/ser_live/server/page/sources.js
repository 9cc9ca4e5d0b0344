/** Where audio comes from: a microphone, or a recording that is played. */

import { microphoneWords, NO_CAPTURE, NO_MICROPHONE_HERE } from "./words.js";
import { NO_SECURE_PAGE, Trouble } from "./words.js";

const CAPTURE = new URL("./capture.js", import.meta.url);

/**
 * Blocks of audio at the browser's own rate. Events, each with its `detail`:
 * `block` {samples}: interleaved; `lost` {frames, why}; `over` {why}: no more will come.
 */
class Source extends EventTarget {
  channels = 1;

  get sampleRateHz() {
    return this.context.sampleRate;
  }

  /** Begin to give blocks; may ask the person. */
  async open() {
    if (!window.isSecureContext) throw new Trouble(NO_SECURE_PAGE);
    if (!window.AudioWorkletNode) throw new Trouble(NO_MICROPHONE_HERE);
    this.context = new AudioContext({ latencyHint: "interactive" });
    try {
      await this.context.audioWorklet.addModule(CAPTURE).catch(() => {
        throw new Trouble(NO_CAPTURE);
      });
      const input = await this.connect();
      this.capture = new AudioWorkletNode(this.context, "ser-capture", {
        numberOfOutputs: 0,
        channelCount: this.channels,
        channelCountMode: "explicit",
        processorOptions: { channels: this.channels },
      });
      this.capture.port.onmessage = ({ data }) => this.#onPost(data);
      input.connect(this.capture);
      await this.context.resume();
      this.#watchClock();
    } catch (error) {
      await this.release();
      throw error;
    }
  }

  /** End it; the last block comes before the promise is kept. */
  async close() {
    const isOver = new Promise((resolve) => (this.whenOver = resolve));
    this.capture.port.postMessage("finish");
    // A context that the system has stopped never answers.
    await Promise.race([isOver, new Promise((resolve) => setTimeout(resolve, 500))]);
    await this.release();
  }

  async release() {
    if (this.context && this.context.state !== "closed") await this.context.close();
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #onPost({ samples, lost, isOver }) {
    if (samples) this.tell("block", { samples });
    if (lost) this.tell("lost", { frames: lost, why: "the browser was too busy" });
    if (isOver) this.whenOver?.();
  }

  /** The system may stop the clock of a page, for a telephone call or to save power. */
  #watchClock() {
    let stoppedAt = null;
    this.context.addEventListener("statechange", () => {
      if (this.context.state === "running" && stoppedAt !== null) {
        const seconds = (performance.now() - stoppedAt) / 1000;
        stoppedAt = null;
        const frames = Math.round(seconds * this.sampleRateHz);
        this.tell("lost", { frames, why: "the system had stopped the audio of this page" });
      } else if (this.context.state !== "running" && this.context.state !== "closed") {
        stoppedAt ??= performance.now();
        this.context.resume().catch(() => {});
      }
    });
  }
}

export class Microphone extends Source {
  /** @param {string} deviceId of `microphones`; empty: the browser's default */
  constructor(deviceId) {
    super();
    this.deviceId = deviceId;
  }

  async connect() {
    const wanted = this.deviceId ? { deviceId: { exact: this.deviceId } } : {};
    // What makes a call pleasant changes a voice.
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const devices = navigator.mediaDevices;
    try {
      this.stream = await devices.getUserMedia({ audio: { ...wanted, ...plain } });
    } catch (error) {
      throw new Trouble(microphoneWords(error));
    }
    const [track] = this.stream.getAudioTracks();
    this.name = track.label || "microphone";
    this.channels = Math.min(2, track.getSettings().channelCount ?? 1);
    track.addEventListener("ended", () => this.tell("over", { why: `${this.name} was disconnected.` }));
    track.addEventListener("mute", () => this.tell("muted", {}));
    return this.context.createMediaStreamSource(this.stream);
  }

  async release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    await super.release();
  }
}

/** A recording, played so that it is heard and streamed. */
export class Player extends Source {
  /** @param {File} file anything that the browser can play */
  constructor(file) {
    super();
    this.file = file;
    this.name = file.name;
  }

  async connect() {
    let recording;
    try {
      recording = await this.context.decodeAudioData(await this.file.arrayBuffer());
    } catch {
      throw new Trouble(`${this.name}: this browser cannot play it; the server may still recognize it.`);
    }
    this.channels = Math.min(2, recording.numberOfChannels);
    this.player = new AudioBufferSourceNode(this.context, { buffer: recording });
    this.player.connect(this.context.destination);
    this.player.addEventListener("ended", () => this.tell("over", { why: "" }));
    return this.player;
  }

  async open() {
    await super.open();
    this.player.start();
  }
}

/** Microphones as {deviceId, label}; without labels until one was allowed. */
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
  const isOwn = ({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default";
  return devices.filter(isOwn).map(({ deviceId, label }) => ({ deviceId, label }));
}

/** A recording at another rate as an AudioBuffer; null where the browser cannot read it. */
export async function decode(file, sampleRateHz) {
  try {
    const context = new OfflineAudioContext(1, 1, sampleRateHz);
    return await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    return null;
  }
}

/** How long a recording is, by its head; NaN where the browser cannot tell. */
export async function durationOf(file) {
  const player = new Audio();
  const isKnown = new Promise((resolve) => {
    player.onloadedmetadata = player.onerror = resolve;
  });
  player.src = URL.createObjectURL(file);
  await isKnown;
  URL.revokeObjectURL(player.src);
  return player.duration;
}
