/** The page: controls, and what they show. */

import { listenToDrops, listenToOptions, listenToTheme } from "./choices.js";
import { listMicrophones, listModels, options } from "./choices.js";
import { $, write } from "./dom.js";
import { FORMATS, save } from "./exports.js";
import { History, labelOf } from "./history.js";
import { Bars, Headline, Quantiles } from "./live.js";
import { askToDiscard, hideNotice, hideTrouble, listenToNotices, notice } from "./notices.js";
import { showTrouble } from "./notices.js";
import { Recording } from "./recording.js";
import { Rows, Totals } from "./rows.js";
import { Session } from "./session.js";
import { Microphone, Player } from "./sources.js";
import { Timeline, timelineWords } from "./timeline.js";
import { currentToken, takeToken } from "./token.js";
import { clock, EVENT_WORDS, Progress, refusedWords } from "./words.js";

const BASE = new URL("./", document.baseURI);
const READY_WORDS = $("detail").textContent;
const LATE_SECONDS = 4;
const RUNNING = ["asking", "connecting", "live", "away"];
const STATUS_WORDS = {
  asking: "asking for the microphone",
  connecting: "connecting",
  away: "server away, reconnecting",
  ending: "ending",
  over: "ready",
};

const NOT_HEARD = {
  null: ["missing audio", "nothing was recognized here"],
  undefined: ["no result", "there is none of this moment, or none yet"],
};

const history = new History();
const timeline = new Timeline($("timeline"), history);
const headline = new Headline($("now"), $("spoken"));
const bars = new Bars($("bars"));
const rows = new Rows($("rows"), history);
const totals = new Totals($("totals"), history);
const lags = new Quantiles();
const rounds = new Quantiles();
let session = null;
let recording = null; // the file that was opened last
let held = ""; // the current result,
let heldSince = 0; // and the clock of the stream when it became this one
let heardAt = 0; // when the latest result came, by the browser's clock
let wakeLock = null;

function isRunning() {
  return RUNNING.includes(session?.state);
}

/** Whether emotions were heard that cannot be had again. */
function isUnsaved() {
  return history.isUnsaved && history.allSegments.length > 0;
}

async function begin(source) {
  if (isUnsaved() && !(await askToDiscard())) return;
  await session?.stop();
  if (source instanceof Microphone) closeRecording();
  timeline.follow();
  hideTrouble();
  clearFigures();
  held = "";
  const mine = (session = new Session(BASE, history, source, options()));
  mine.addEventListener("state", ({ detail }) => onState(source, detail));
  mine.addEventListener("started", ({ detail }) => onStarted(detail.message));
  mine.addEventListener("prediction", ({ detail }) => {
    history.isUnsaved = source instanceof Microphone;
    onPrediction(detail);
  });
  mine.addEventListener("event", ({ detail: { message } }) => {
    notice(EVENT_WORDS[message.event], message.event === "draining");
  });
  mine.addEventListener("fault", ({ detail }) => showTrouble(detail.message.detail));
  source.addEventListener("muted", () => notice("The system has muted the microphone."));
  await mine.start();
}

const ON_STATE = {
  asking: () => headline.say("one moment", "the browser may ask for the microphone"),
  connecting: () => {
    headline.say("listening…", "connecting to the server");
    timeline.reset();
    listMicrophones(); // they have names now
  },
  live: () => {
    hideTrouble();
    heardAt = performance.now();
  },
  away: ({ words }) => {
    hideNotice();
    if (timeline.cursor === null) {
      headline.say("not connected", "trying again; audio is missing meanwhile", "Now");
      bars.show(null);
    }
    headline.announce("the server is away", "away");
    const sentence = words.endsWith(".") ? words : `${words}.`;
    showTrouble(`${sentence} Reconnecting; audio is missing on the timeline meanwhile.`);
  },
  ending: () => {},
  over: ({ words, token }) => {
    if (timeline.cursor === null) showStopped();
    hideNotice();
    if (words) showTrouble(words, token);
    nameTimeline();
    totals.update();
    rows.update();
  },
};

function onState(source, detail) {
  const { state } = detail;
  $("status").dataset.state = state;
  write($("status-words"), STATUS_WORDS[state] ?? `listening to ${source.name}`);
  write($("start"), isRunning() ? "Stop" : "Start listening");
  $("start").disabled = state === "ending";
  timeline.isLive = ["live", "away", "connecting"].includes(state);
  ON_STATE[state](detail);
  keepAwake();
}

function onStarted(message) {
  bars.reset(message.model.labels);
  timeline.recolour();
  write($("delay"), `${message.delay_seconds.toFixed(1)} s`);
  write($("served"), `Model ${message.model.name}, ${message.prior} prior. `);
}

function onPrediction({ message, roundTripSeconds }) {
  heardAt = performance.now();
  if (message.lag_seconds !== null) lags.add(message.lag_seconds);
  if (roundTripSeconds !== null) rounds.add(roundTripSeconds);
  const now = `${message.state} ${message.label}`;
  if (now !== held) [held, heldSince] = [now, message.end_seconds];
  if (timeline.cursor === null) showNow(message);
  showFigures();
}

function showNow(message) {
  headline.show(message, history.labels, { heldSeconds: message.end_seconds - heldSince });
  bars.show(message);
}

function clearFigures() {
  lags.clear();
  rounds.clear();
  showFigures();
  write($("delay"), "–");
}

function showFigures() {
  lags.write($("lag"));
  rounds.write($("round"));
  write($("lost"), history.predictions.length ? `${history.lostSeconds.toFixed(1)} s` : "–");
}

/** A server that is connected and says nothing must not look like one that is sure. */
function onTick() {
  if (!isRunning()) return;
  totals.update();
  if ($("segments").open) rows.update();
  if (session.state === "away") showFigures();
  const seconds = (performance.now() - heardAt) / 1000;
  if (session.state !== "live" || seconds < LATE_SECONDS || timeline.cursor !== null) return;
  headline.say("waiting…", `no result for ${Math.floor(seconds)} s`, "Now");
  bars.show(null);
}

async function openRecording(file) {
  if (isUnsaved() && !(await askToDiscard())) return;
  await session?.stop();
  recording?.cancel();
  hideTrouble();
  const mine = (recording = new Recording(file));
  $("progress").removeAttribute("value");
  showRecording(`Recognizing ${file.name} …`, true);
  const progress = new Progress();
  try {
    const words = await mine.recognize(BASE, history, options(), (share) => {
      if (recording !== mine || !(share >= 0)) return;
      showRecording(`Recognizing ${file.name}: ${progress.words(share)}`, true);
      $("progress").value = share;
    });
    showRecording(words, false);
    showWhole();
  } catch (error) {
    if (recording !== mine) return;
    $("recording").hidden = true;
    if (error.name !== "AbortError") showTrouble(error.message, error.wantsToken);
  }
}

/** Forget the file; of one that is in work nothing comes any more. */
function closeRecording() {
  recording?.cancel();
  recording = null;
  $("recording").hidden = true;
}

function showWhole() {
  clearFigures();
  if (history.labels.length) bars.reset(history.labels);
  timeline.recolour();
  timeline.fit();
  const first = history.predictions.find((one) => labelOf(one) !== null);
  timeline.point(first ? first.end_seconds - 0.01 : 0);
  headline.announce(`recognized, ${timelineWords(history)}`, "recognized");
  nameTimeline();
  totals.update();
  rows.update();
}

function showRecording(words, isBusy) {
  $("recording").hidden = false;
  $("recording").setAttribute("aria-busy", String(isBusy));
  write($("recording-words"), words);
  $("progress").hidden = !isBusy;
  $("play").hidden = isBusy;
  $("recording-cancel").hidden = !isBusy;
}

function onCursor() {
  const atSeconds = timeline.cursor;
  if (atSeconds !== null) {
    const found = history.at(atSeconds);
    if (found) headline.show(found, history.labels, { atSeconds });
    else headline.say(...NOT_HEARD[found], `At ${clock(atSeconds, 1)}`);
    bars.show(found);
  } else if (!isRunning()) {
    showStopped();
  } else if (history.predictions.length) {
    showNow(history.predictions.at(-1));
  }
  nameTimeline();
  onHistory();
}

function showStopped() {
  bars.show(null);
  if (history.seconds) headline.say("stopped", "the timeline stays here, to inspect and export");
  else headline.say("ready", READY_WORDS);
}

function onHistory() {
  for (const button of document.querySelectorAll("[data-format]")) {
    button.disabled = history.records.length === 0;
  }
  $("follow").hidden = timeline.isFollowing || !isRunning();
}

/** A slider, to those who do not see it. */
function nameTimeline() {
  const { seconds } = history;
  const place = $("timeline");
  place.setAttribute("aria-valuemax", seconds.toFixed(1));
  place.setAttribute("aria-valuenow", (timeline.cursor ?? seconds).toFixed(1));
  const words = timeline.cursor === null ? timelineWords(history) : headline.words;
  place.setAttribute("aria-valuetext", words);
}

async function offerModels() {
  try {
    const labels = await listModels(BASE);
    if (!history.labels.length) bars.reset(labels);
  } catch (error) {
    // Other errors are shown at the start.
    if (error.status === 401) showTrouble(refusedWords(error, currentToken() !== "").words, true);
  }
}

/** A telephone that falls asleep stops listening. */
async function keepAwake() {
  if (isRunning() && (!wakeLock || wakeLock.released)) {
    wakeLock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  } else if (!isRunning()) {
    await wakeLock?.release();
    wakeLock = null;
  }
}

function listenToControls() {
  $("start").addEventListener("click", () => {
    if (isRunning()) session.stop();
    else begin(new Microphone($("microphone").value));
  });
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) openRecording(file);
    $("file").value = ""; // the same one may be chosen again
  });
  $("play").addEventListener("click", () => begin(new Player(recording.file)));
  $("recording-cancel").addEventListener("click", closeRecording);
  $("follow").addEventListener("click", () => timeline.follow());
  $("closer").addEventListener("click", () => timeline.zoom(0.5));
  $("further").addEventListener("click", () => timeline.zoom(2));
  $("all").addEventListener("click", () => timeline.fit());
  $("timeline").addEventListener("focus", nameTimeline);
  $("segments").addEventListener("toggle", () => rows.update());
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => save(history, FORMATS[button.dataset.format]));
  }
}

function listenToBrowser() {
  addEventListener("hashchange", () => takeToken() && offerModels());
  addEventListener("online", () => session?.retryNow());
  addEventListener("pagehide", () => session?.stop());
  addEventListener("beforeunload", (event) => isUnsaved() && event.preventDefault());
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) timeline.follow();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") keepAwake();
  });
  navigator.mediaDevices?.addEventListener("devicechange", listMicrophones);
}

$("unscripted").remove();
$("start").disabled = false;
showStopped();
write($("status-words"), STATUS_WORDS.over);
takeToken();
write($("host"), location.host);
history.addEventListener("change", onHistory);
timeline.addEventListener("cursor", onCursor);
listenToControls();
listenToBrowser();
listenToOptions();
listenToDrops(openRecording);
listenToNotices(offerModels);
listenToTheme(() => timeline.recolour());
setInterval(onTick, 1000);
listMicrophones();
offerModels();
