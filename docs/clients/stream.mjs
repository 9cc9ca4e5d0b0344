// Send raw audio to ser-serve as it comes, and print each change.
//
//     arecord -q -t raw -f S16_LE -r 16000 | node stream.mjs http://127.0.0.1:8321
//     ffmpeg -v error -i talk.mp3 -f s16le -ac 1 -ar 16000 - | node stream.mjs "ADDRESS#token=TOKEN"
//
// Node 22 or later, and nothing else (Node 20: node --experimental-websocket stream.mjs).

import { setTimeout } from "node:timers/promises";

const RATE_HZ = 16000;
const FRAME_BYTES = 2; // of one channel as s16le
const MOST_UNSENT_BYTES = RATE_HZ * FRAME_BYTES;

const given = process.argv[2] ?? "http://127.0.0.1:8321";
if (!/^https?:/.test(given) || !URL.canParse(given)) {
  console.error(`${given} is no address of a server; wanted one like http://127.0.0.1:8321`);
  process.exit(1);
}
const address = new URL(given);
const token = new URLSearchParams(address.hash.slice(1)).get("token");
const url = address.href.split("#")[0].replace(/^http/, "ws").replace(/\/?$/, "/v1/stream");
// A token goes as a subprotocol: this kind of WebSocket has no headers.
const socket = new WebSocket(url, token ? ["ser.v1", `bearer.${token}`] : ["ser.v1"]);

const started = new Promise((resolve) => {
  const answers = {
    started: resolve,
    prediction: ({ changed, end_seconds, label, state, confidence }) => {
      if (changed) console.log(end_seconds.toFixed(2), label ?? state, confidence.toFixed(2));
    },
    error: ({ detail, code }) => console.error(`${detail} (${code})`),
    ended: ({ processed_samples }) => console.error(`${processed_samples} samples recognized`),
  };
  // Others are segment, event, and utterance where it is asked for: see /v1/schema.
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    answers[message.type]?.(message);
  };
});
socket.onopen = () => {
  const form = { sample_rate_hz: RATE_HZ, channels: 1, format: "s16le" };
  socket.send(JSON.stringify({ type: "start", ...form }));
};
socket.onerror = () => {
  console.error(`${url}: no server there, or it refuses; its log tells why`);
  process.exit(1);
};
// 1000: it was asked to end; all other codes stand in docs/server.md.
socket.onclose = ({ code }) => process.exit(code === 1000 ? 0 : 1);

const { limits } = await started;
let left = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  const bytes = Buffer.concat([left, chunk]);
  const whole = bytes.length - (bytes.length % FRAME_BYTES); // the server takes whole samples
  left = bytes.subarray(whole);
  socket.send(bytes.subarray(0, whole));
  // A file comes faster than the server takes it.
  await setTimeout((1000 * whole) / limits.max_bytes_per_second);
  while (socket.bufferedAmount > MOST_UNSENT_BYTES) await setTimeout(5);
}
socket.send(JSON.stringify({ type: "end" })); // what is due still comes, then the close
