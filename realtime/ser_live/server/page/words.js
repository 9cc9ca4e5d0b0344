/** Messages for errors, each with what to do. */

const MICROPHONE = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Allow it at the left of the address " +
    "bar, then start again. Files can be opened without it.",
  NotFoundError: "No microphone was found. Plug one in and start again, or open a file.",
  NotReadableError:
    "The microphone could not be opened. Another program may be using it, or the system may keep " +
    "it from this browser: see the system’s privacy settings.",
  OverconstrainedError: "That microphone is no longer connected. Choose another one.",
  AbortError: "The system stopped the microphone while it was being opened. Start again.",
};

const CLOSED = {
  1001: { retry: true, words: "The server is being stopped." },
  1006: { retry: true, words: "The connection to the server was lost." },
  1008: { retry: false, words: "The server refused this page." },
  1009: { retry: false, words: "The server does not accept blocks of audio as large as this page sends." },
  1011: { retry: true, words: "The server failed on this stream." },
  1013: { retry: true, words: "The server is overloaded at the moment." },
  4400: { retry: false, words: "The server did not understand this page." },
  4408: { retry: true, words: "The server received no audio for too long." },
  4413: { retry: true, words: "The stream reached the server’s longest duration." },
  4429: { retry: false, words: "The server accepts less audio per second than this page sends." },
  4430: { retry: true, words: "This browser read too slowly, so the server closed the stream." },
};

export const NO_SECURE_PAGE =
  "Browsers give the microphone only to secure pages, and this one came over plain http from " +
  "another machine. Open it by https://, or through a tunnel as http://localhost: for example " +
  "ssh -L 8321:127.0.0.1:8321 and the server’s name. Files can be opened as it is.";

export const NO_CAPTURE =
  "The server does not answer: a part of this page could not be loaded. Start again when it runs.";

export const NO_MICROPHONE_HERE = "This browser gives no access to a microphone. Files can be opened.";

/** Events of the server, in words for a person at the microphone. */
export const EVENT_WORDS = {
  input_silent: "The microphone gives no signal at all: is it muted, or the wrong one?",
  input_clipping: "The input is clipping: lower the input level.",
  input_offset: "The input has a fault, a constant offset: try another input or cable.",
  input_channels: "The channels of the input cancel each other, or hold different voices.",
  input_format: "The audio came in another format than it was declared in.",
  input_narrow_band: "8 kHz, as by telephone: results are less certain than at a full band.",
  overload: "The server is overloaded: results are late.",
  draining: "The server is going to stop: results go on for a while, then this page connects anew.",
  hop_changed: "The server has changed the interval of results because of its load.",
};

/** An error that a person should read as it is. */
export class Trouble extends Error {}

/** Say why a microphone could not be opened. */
export function microphoneWords(error) {
  if (error instanceof Trouble) return error.message;
  if (error.name === "NotAllowedError" && /system/i.test(error.message)) {
    return (
      "The system does not let this browser use a microphone. Allow it in the system’s privacy " +
      "settings, then start again."
    );
  }
  return MICROPHONE[error.name] ?? `The microphone could not be opened: ${error.message}`;
}

/**
 * Say why a stream is over, and whether it makes sense to try again.
 *
 * @param {object} closed detail of SerStream's `close`
 * @returns {{words: string, retry: boolean}}
 */
export function closedWords({ code, reason, error }) {
  const known = CLOSED[code] ?? { retry: true, words: `The server ended the stream (${code}).` };
  const detail = error?.detail || reason;
  return { retry: known.retry, words: detail ? `${known.words} It says: ${detail}` : known.words };
}

/** Say why no stream could be opened, by what the server answers to plain requests. */
export function refusedWords({ status, message }, hasToken) {
  if (status === 0) return { retry: true, words: "The server does not answer." };
  if (status === 401) {
    const what = hasToken ? "The server does not accept this token." : "The server requires a token.";
    return { retry: false, token: true, words: `${what} It printed one when it was started.` };
  }
  if (status === 403) return { retry: false, words: `The server refused this page: ${message}` };
  if (status === 503) return { retry: true, words: `The server accepts no streams now: ${message}` };
  return { retry: true, words: `The server has a fault: ${message}` };
}

/** The server would take a stream, and still none came through to it. */
export const NOT_UPGRADED = {
  retry: true,
  words:
    "The server answers, but no stream gets through to it. A proxy on the way may not pass the " +
    "headers Upgrade and Connection.",
};

export const STOPPED_AWAY =
  "Stopped while the server was away: what was said since then was not recognized.";

/** Say why a file could not be recognized. */
export function fileWords(error, name, hasToken) {
  if (error.status === 0 || error.status === 401) {
    return `${name}: ${refusedWords(error, hasToken).words}`;
  }
  return `${name}: ${error.message}`;
}

/** Says how far something is, and how long it will take by its pace since the first result. */
export class Progress {
  words(share) {
    const now = performance.now() / 1000;
    this.first ??= { share, now };
    const [done, seconds] = [share - this.first.share, now - this.first.now];
    const percent = `${Math.floor(100 * share)} %`;
    if (seconds < 1) return percent;
    const left = Math.ceil((seconds * (1 - share)) / done);
    return `${percent}, about ${left < 60 ? `${left} s` : `${clock(left)} min`} left`;
  }
}

/** Seconds as a clock: 1:05, 1:02:03, with tenths on demand. */
export function clock(seconds, digits = 0) {
  const scale = 10 ** digits;
  const units = Math.round(Math.max(0, seconds) * scale);
  const whole = Math.floor(units / scale);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0") + (digits ? `.${units % scale}` : "");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
