/** The page: what is pressed, and what is shown then. */

import { request } from "./client.js";
import { FORMATS, save } from "./exports.js";
import { History, labelOf } from "./history.js";
import { Bars, Headline, Quantiles, write } from "./live.js";
import { Recording } from "./recording.js";
import { Rows } from "./rows.js";
import { Session } from "./session.js";
import { Microphone, microphones, Player } from "./sources.js";
import { Timeline, timelineWords } from "./timeline.js";
import { currentToken, keepToken, takeToken } from "./token.js";
import { clock } from "./words.js";

const $ = (id) => document.getElementById(id);
const BASE = new URL("./", document.baseURI);
const RUNNING = ["asking", "connecting", "live", "away"];
const STATUS_WORDS = {
  asking: "asking for the microphone",
  connecting: "connecting",
  live: "listening",
  away: "server away, trying again",
  ending: "ending",
  over: "ready",
};
const THEMES = ["", "light", "dark"];
const THEME_WORDS = { "": "as the system", light: "light", dark: "dark" };

const history = new History();
const timeline = new Timeline($("timeline"), history);
const headline = new Headline($("now"), $("spoken"));
const bars = new Bars($("bars"));
const rows = new Rows($("rows"), history);
const lags = new Quantiles();
const rounds = new Quantiles();
let session = null;
let recording = null; // the file that was opened last
let heldSince = 0; // clock of the stream when the answer became this one
let held = "";
let wakeLock = null;

function isRunning() {
  return RUNNING.includes(session?.state);
}

function options() {
  const smoothing = $("smoothing").value;
  return {
    token: currentToken(),
    model: $("model").value || undefined,
    hopSeconds: Number($("hop").value),
    smoothingSeconds: smoothing === "" ? undefined : Number(smoothing),
    vad: $("vad").checked,
  };
}

async function begin(source) {
  await session?.stop();
  hideTrouble();
  if (source instanceof Microphone) $("recording").hidden = true;
  for (const figures of [lags, rounds]) figures.clear();
  held = "";
  const mine = (session = new Session(BASE, history, source, options()));
  mine.addEventListener("state", ({ detail }) => onState(source, detail));
  mine.addEventListener("started", ({ detail }) => onStarted(detail.message));
  mine.addEventListener("prediction", ({ detail }) => onPrediction(detail));
  mine.addEventListener("fault", ({ detail }) => showTrouble(detail.message.detail));
  source.addEventListener("muted", () => showTrouble("The system has muted the microphone."));
  source.addEventListener("unmuted", hideTrouble);
  await mine.start();
}

function onState(source, { state, words, token }) {
  $("status").dataset.state = state;
  write($("status-words"), state === "live" ? `listening to ${source.name}` : STATUS_WORDS[state]);
  write($("start"), isRunning() ? "Stop" : "Start listening");
  $("start").disabled = state === "ending";
  timeline.isLive = ["live", "away", "connecting"].includes(state);
  if (state === "connecting") {
    timeline.reset();
    listMicrophones();
  }
  if (state === "asking") headline.say("one moment", "the browser may ask for the microphone");
  if (state === "connecting") headline.say("listening…", "connecting to the server");
  if (state === "live") hideTrouble();
  if (state === "away") {
    headline.say("not heard", "the server is away; what is said now is missing", "Now");
    bars.show(null);
    headline.announce("the server is away", "away");
    showTrouble(`${words} Trying again; what is said meanwhile is missing on the timeline.`);
  }
  if (state === "over") onOver(words, token);
  keepAwake();
}

function onOver(words, wantsToken) {
  bars.show(null);
  headline.say("stopped", history.seconds ? "the timeline stays, to look at and to save" : "");
  if (!history.seconds) headline.say("ready", "Start, and speak.");
  if (words) showTrouble(words);
  if (wantsToken) askForToken();
  nameTimeline();
  rows.update();
}

function onStarted(message) {
  bars.reset(message.model.labels);
  timeline.recolour();
  write($("delay"), `${message.delay_seconds.toFixed(1)} s`);
}

function onPrediction({ message, roundTripSeconds }) {
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

function showFigures() {
  lags.write($("lag"));
  rounds.write($("round"));
  const lost = history.gaps.reduce(
    (sum, gap) => sum + (gap.end_seconds ?? history.seconds) - gap.start_seconds,
    0,
  );
  write($("lost"), history.predictions.length ? `${lost.toFixed(1)} s` : "–");
}

async function openRecording(file) {
  await session?.stop();
  recording?.cancel();
  hideTrouble();
  const mine = (recording = new Recording(file));
  showRecording(`Recognizing ${file.name} …`, true);
  try {
    const words = await mine.recognize(BASE, history, options());
    showRecording(words, false);
    showWhole();
  } catch (error) {
    if (recording !== mine) return;
    $("recording").hidden = true;
    if (error.name === "AbortError") return;
    showTrouble(error.message);
    if (error.wantsToken) askForToken();
  }
}

function showWhole() {
  for (const figures of [lags, rounds]) figures.clear();
  showFigures();
  write($("delay"), "–");
  bars.reset(history.labels);
  timeline.recolour();
  timeline.fit();
  const first = history.predictions.find((one) => labelOf(one) !== null);
  timeline.point(first ? first.end_seconds - 0.01 : 0);
  headline.announce(`recognized, ${timelineWords(history)}`, "recognized");
  nameTimeline();
  rows.update();
}

function showRecording(words, isBusy) {
  $("recording").hidden = false;
  $("recording").setAttribute("aria-busy", String(isBusy));
  write($("recording-words"), words);
  $("play").hidden = isBusy;
  $("recording-cancel").hidden = !isBusy;
}

function onCursor() {
  const atSeconds = timeline.cursor;
  $("follow").hidden = timeline.isFollowing || !isRunning();
  if (atSeconds !== null) {
    const found = history.at(atSeconds);
    if (found) headline.show(found, history.labels, { atSeconds });
    else headline.say("not heard", "the server heard nothing then", `At ${clock(atSeconds, 1)}`);
    bars.show(found);
  } else if (isRunning() && history.predictions.length) {
    showNow(history.predictions.at(-1));
  }
}

function nameTimeline() {
  $("timeline").setAttribute("aria-label", timelineWords(history));
}

function onHistory() {
  for (const button of document.querySelectorAll("[data-format]")) {
    button.disabled = history.records.length === 0;
  }
  $("follow").hidden = timeline.isFollowing || !isRunning();
}

function showTrouble(words) {
  write($("trouble-words"), words);
  $("trouble").hidden = false;
}

function hideTrouble() {
  $("trouble").hidden = true;
  $("token-form").hidden = true;
}

function askForToken() {
  $("token-form").hidden = false;
  $("token").focus();
}

async function listMicrophones() {
  const chosen = $("microphone").value;
  const found = (await microphones()).filter(({ label }) => label);
  const choices = found.map(({ deviceId, label }) => new Option(label, deviceId));
  $("microphone").replaceChildren(new Option("Default microphone", ""), ...choices);
  if (found.some(({ deviceId }) => deviceId === chosen)) $("microphone").value = chosen;
}

async function listModels() {
  let models;
  try {
    models = await request(new URL("v1/models", BASE), { token: currentToken() });
  } catch (error) {
    if (error.status === 401) askForToken();
    return; // the start says what is wrong
  }
  const choices = models.map(({ name, default: isDefault }) => new Option(name, isDefault ? "" : name));
  $("model").replaceChildren(...choices);
  const first = models.find((model) => model.default) ?? models[0];
  if (first && !history.labels.length) bars.reset(first.labels);
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

function nameTheme() {
  const theme = document.documentElement.dataset.theme ?? "";
  $("theme").setAttribute("aria-label", `Colours: ${THEME_WORDS[theme]}`);
  $("theme").title = `Colours: ${THEME_WORDS[theme]}`;
  timeline.recolour();
}

function nextTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then it holds for this page alone.
  }
  nameTheme();
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
  $("recording-cancel").addEventListener("click", () => recording.cancel());
  $("trouble-close").addEventListener("click", () => ($("trouble").hidden = true));
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken($("token").value.trim());
    hideTrouble();
    listModels();
  });
  $("theme").addEventListener("click", nextTheme);
  $("follow").addEventListener("click", () => timeline.follow());
  $("closer").addEventListener("click", () => timeline.zoom(0.5));
  $("further").addEventListener("click", () => timeline.zoom(2));
  $("all").addEventListener("click", () => timeline.fit());
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => save(history, FORMATS[button.dataset.format]));
  }
}

/** A sheet goes away when one looks elsewhere. */
function listenToOptions() {
  const sheet = $("options");
  addEventListener("pointerdown", ({ target }) => {
    if (!sheet.contains(target)) sheet.open = false;
  });
  sheet.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !sheet.contains(relatedTarget)) sheet.open = false;
  });
  sheet.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !sheet.open) return;
    event.preventDefault();
    sheet.open = false;
    sheet.querySelector("summary").focus();
  });
}

function listenToDrops() {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0; // the pointer enters and leaves every element on its way
  const show = (change) => {
    depth = Math.max(0, depth + change);
    $("drop").hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => isFile(event) && show(1));
  addEventListener("dragleave", (event) => isFile(event) && show(-1));
  addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    show(-depth);
    const [file] = event.dataTransfer.files;
    if (file) openRecording(file);
  });
}

takeToken();
addEventListener("hashchange", () => takeToken() && listModels());
listenToControls();
listenToOptions();
listenToDrops();
nameTheme();
write($("host"), location.host);
history.addEventListener("change", onHistory);
timeline.addEventListener("cursor", onCursor);
$("stretches").addEventListener("toggle", () => rows.update());
setInterval(() => {
  if (!isRunning()) return;
  if ($("stretches").open) rows.update();
  if (session.state === "away") showFigures();
}, 1000);
$("timeline").addEventListener("focus", nameTimeline);
addEventListener("online", () => session?.retryNow());
addEventListener("pagehide", () => session?.stop());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") keepAwake();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented) timeline.follow();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
navigator.mediaDevices?.addEventListener("devicechange", listMicrophones);
listMicrophones();
listModels();
