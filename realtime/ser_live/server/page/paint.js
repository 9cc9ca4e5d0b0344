/** Draws a part of the timeline: the waveform, and the emotions over it. */

import { secondsOf } from "./history.js";
import { clock } from "./words.js";

const BAR_PIXELS = 4; // a bar of the waveform with its gap
const STEPS_SECONDS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const STEP_PIXELS = 72; // least distance of two times
const TOP = 26; // names stand above the waveform
const BOTTOM = 24; // times stand below it
const HATCH_PIXELS = 7;
const OVERVIEW_PIXELS = 4; // a second in fewer: names and bars of a few seconds would not be seen
const COLUMN_PIXELS = 12; // least width of a column of the overview
const LINE_PIXELS = 14; // of a name from the bottom to the top

/**
 * @param {CanvasRenderingContext2D} to scaled to CSS pixels
 * @param {object} view width, height, start, seconds, cursor (or null), now (of a live stream)
 * @param {History} history
 * @param {Colours} colours
 */
export function paint(to, view, history, colours) {
  const { width, height, start, seconds } = view;
  const scale = width / seconds;
  const scene = { ...view, to, history, colours, x: (at) => (at - start) * scale };
  scene.until = start + seconds;
  scene.middle = (TOP + height - BOTTOM) / 2;
  to.clearRect(0, 0, width, height);
  to.font = `500 12px ${colours.font}`;
  to.textBaseline = "middle";
  drawTimes(scene);
  const segments = visible(history.allSegments, scene);
  const gaps = visible(history.gaps.map((gap) => ended(gap, history.seconds)), scene);
  if (scale < OVERVIEW_PIXELS) drawShares(scene, segments);
  else {
    drawStates(scene);
    for (const segment of segments) drawSegment(scene, segment);
    drawWaveform(scene, segments, gaps);
    for (const segment of segments) drawName(scene, segment);
  }
  for (const gap of gaps) drawGap(scene, gap);
  if (view.cursor !== null) drawCursor(scene);
  if (history.seconds === 0) drawNothing(scene);
}

function drawNothing({ to, width, middle, colours }) {
  const words = "no audio yet";
  const half = to.measureText(words).width / 2 + 12;
  to.fillStyle = colours.card;
  to.fillRect(width / 2 - half, middle - 12, 2 * half, 24);
  to.textAlign = "center";
  to.fillStyle = colours.muted;
  to.fillText(words, width / 2, middle);
}

function drawTimes({ to, width, height, seconds, start, until, x, colours }) {
  const step = stepOf((seconds * STEP_PIXELS) / width);
  to.textAlign = "center";
  for (let at = Math.ceil(start / step) * step; at <= until; at += step) {
    const place = Math.round(x(at)) + 0.5;
    to.fillStyle = colours.line;
    to.fillRect(place - 0.5, TOP, 1, height - TOP - BOTTOM);
    to.fillStyle = colours.muted;
    const words = clock(at, step < 1 ? 1 : 0);
    const half = to.measureText(words).width / 2;
    to.fillText(words, Math.min(Math.max(place, half), width - half), height - BOTTOM / 2 + 2);
  }
}

/** The emotions of each column in shares of its time, over each other; silence stays empty. */
function drawShares(scene, segments) {
  const { to, history, x, start, until, width, height, seconds, colours } = scene;
  const step = stepOf((seconds * COLUMN_PIXELS) / width);
  const last = Math.min(until, history.seconds);
  for (let from = Math.floor(start / step) * step; from < last; from += step) {
    const end = Math.min(from + step, history.seconds);
    const sums = secondsOf(segments, from, end);
    const [left, columnWidth] = [x(from) + 0.5, Math.max(1, x(end) - x(from) - 1)];
    let bottom = height - BOTTOM;
    for (const label of [...history.labels, "uncertain"]) {
      const size = ((height - TOP - BOTTOM) * (sums.get(label) ?? 0)) / (end - from);
      bottom -= size;
      const { fill, tint } = colours.of(label);
      cover(scene, label, label === "uncertain" ? tint : fill, left, bottom, columnWidth, size);
    }
  }
  const columns = step < 60 ? `${step} s` : `${step / 60} min`;
  to.textAlign = "right";
  to.fillStyle = colours.muted;
  to.fillText(`shares of each ${columns}`, width - 2, TOP - 11);
}

/** Silence is a thin line, and the second before the first result a dotted one. */
function drawStates({ to, history, x, middle, width, height, start, until, colours }) {
  const { predictions } = history;
  to.fillStyle = colours.muted;
  for (let at = predictions.length - 1; at >= 0; at--) {
    const { end_seconds: end, state } = predictions[at];
    if (end < start) break;
    const begin = predictions[at - 1]?.end_seconds ?? 0;
    if (begin > until || end - begin > 2) continue;
    const [left, right] = [Math.max(0, x(begin)), Math.min(width, x(end))];
    if (state === "silence") to.fillRect(left, middle - 0.5, right - left, 1);
    if (state !== "warming_up") continue;
    const dots = Math.max(1, Math.round((x(end) - x(begin)) / 10));
    for (let dot = 0; dot < dots; dot++) {
      const place = x(begin + ((dot + 0.5) / dots) * (end - begin));
      disc(to, place, height - BOTTOM + 2, 1.5);
    }
  }
}

function drawSegment(scene, segment) {
  const { to, x, height, width, colours } = scene;
  const [left, right] = inside(x, segment, width);
  const tone = colours.of(segment.label);
  cover(scene, segment.label, tone.tint, left, TOP, right - left, height - TOP - BOTTOM);
  to.fillStyle = tone.fill;
  to.fillRect(left, height - BOTTOM, right - left, 4);
  to.fillStyle = tone.ink;
  to.fillRect(left, TOP, Math.min(1, right - left), height - TOP - BOTTOM + 4);
}

/** Fill a place for a label; what is uncertain is hatched. */
function cover({ to, x, colours }, label, fill, ...place) {
  to.fillStyle = fill;
  to.fillRect(...place);
  if (label !== "uncertain") return;
  to.fillStyle = colours.hatch(colours.of(label).fill, x(0), HATCH_PIXELS);
  to.fillRect(...place);
}

/** Bars stand still on the clock: scrolling moves them and never changes their heights. */
function drawWaveform(scene, segments, gaps) {
  const { to, history, x, seconds, width, height, start, until, middle, colours } = scene;
  const barSeconds = (BAR_PIXELS * seconds) / width;
  const room = (height - TOP - BOTTOM) / 2 - 6;
  const last = Math.min(until, history.seconds);
  let segment = 0;
  let gap = 0;
  for (let bar = Math.floor(start / barSeconds); bar * barSeconds < last; bar++) {
    const from = bar * barSeconds;
    const half = from + barSeconds / 2;
    while (segments[segment]?.end_seconds <= half) segment += 1;
    while (gaps[gap]?.end_seconds <= half) gap += 1;
    const isMissing = gaps[gap]?.start_seconds <= half;
    const heard = segments[segment]?.start_seconds <= half ? segments[segment] : null;
    // Quiet speech should still be seen: the eye hears in decibels.
    const size = room * Math.sqrt(history.level(from, from + barSeconds));
    if (size < 1.5) continue;
    to.fillStyle = heard && !isMissing ? colours.of(heard.label).fill : colours.quiet;
    to.beginPath();
    to.roundRect(x(from) + 0.5, middle - size, BAR_PIXELS - 1, 2 * size, 1.5);
    to.fill();
  }
}

/** Names in letters, because colours alone are not for everybody. */
function drawName({ to, x, width, height, colours }, segment) {
  const [left, right] = inside(x, segment, width);
  const { label } = segment;
  const percent = label === "uncertain" ? "" : `  ${Math.round(100 * segment.mean_confidence)} %`;
  to.textAlign = "left";
  to.fillStyle = colours.of(label).ink;
  const fits = (words) => to.measureText(words).width <= right - left - 4;
  const words = [label + percent, label].find(fits);
  if (words) to.fillText(words, Math.max(0, left) + 2, TOP - 11);
  if (words || right - left < LINE_PIXELS) return;
  // Upright where it is too narrow, on a rim that keeps it off the waveform.
  to.save();
  to.translate(left + LINE_PIXELS / 2 + 1, height - BOTTOM - 4);
  to.rotate(-Math.PI / 2);
  to.lineWidth = 4;
  to.lineJoin = "round";
  to.strokeStyle = colours.card;
  to.strokeText(label, 0, 0);
  to.fillText(label, 0, 0);
  to.restore();
}

function drawGap({ to, x, width, height, middle, colours }, gap) {
  const [left, right] = inside(x, gap, width);
  const room = Math.max(2, right - left);
  for (const isFalling of [true, false]) {
    to.fillStyle = colours.hatch(colours.edge, x(0), HATCH_PIXELS, isFalling);
    to.fillRect(left, TOP, room, height - TOP - BOTTOM + 4);
  }
  to.strokeStyle = colours.edge;
  to.strokeRect(left + 0.5, TOP + 0.5, Math.max(1, room - 1), height - TOP - BOTTOM + 3);
  const lost = gap.end_seconds - gap.start_seconds;
  const words = [`missing ${lost.toFixed(1)} s`, "missing", "×"].find(
    (one) => to.measureText(one).width <= right - left - 12,
  );
  if (!words) return;
  const half = to.measureText(words).width / 2 + 6;
  const centre = (left + right) / 2;
  to.fillStyle = colours.card;
  to.beginPath();
  to.roundRect(centre - half, middle - 11, 2 * half, 22, 4);
  to.fill();
  to.textAlign = "center";
  to.fillStyle = colours.text;
  to.fillText(words, centre, middle);
}

function drawCursor({ to, x, cursor, height, colours }) {
  const place = Math.round(x(cursor));
  to.fillStyle = colours.text;
  to.fillRect(place - 0.75, TOP - 4, 1.5, height - TOP - BOTTOM + 8);
  disc(to, place, TOP - 4, 4);
}

function disc(to, x, y, radius) {
  to.beginPath();
  to.arc(x, y, radius, 0, 2 * Math.PI);
  to.fill();
}

function inside(x, { start_seconds: start, end_seconds: end }, width) {
  return [Math.max(-4, x(start)), Math.min(width + 4, x(end))];
}

function stepOf(leastSeconds) {
  return STEPS_SECONDS.find((one) => one >= leastSeconds) ?? STEPS_SECONDS.at(-1);
}

function visible(records, { start, until }) {
  return records.filter((one) => one.end_seconds > start && one.start_seconds < until);
}

function ended(gap, nowSeconds) {
  return { ...gap, end_seconds: gap.end_seconds ?? nowSeconds };
}
