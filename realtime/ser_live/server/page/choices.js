/** What can be chosen before the start: microphone, model and options, and the colours. */

import { request } from "./client.js";
import { $ } from "./dom.js";
import { microphones } from "./sources.js";
import { currentToken } from "./token.js";

const THEMES = ["", "light", "dark"];
const THEME_WORDS = { "": "as the system", light: "light", dark: "dark" };

/** The options of SerStream and recognize, as they are chosen now. */
export function options() {
  const smoothing = $("smoothing").value;
  return {
    token: currentToken(),
    model: $("model").value || undefined,
    hopSeconds: Number($("hop").value),
    smoothingSeconds: smoothing === "" ? undefined : Number(smoothing),
    vad: $("vad").checked,
    utterances: $("utterances").checked || undefined,
  };
}

/** Offer the microphones that there are; browsers name them only after one was allowed. */
export async function listMicrophones() {
  const chosen = $("microphone").value;
  const found = (await microphones()).filter(({ label }) => label);
  const choices = found.map(({ deviceId, label }) => new Option(label, deviceId));
  $("microphone").replaceChildren(new Option("Default microphone", ""), ...choices);
  if (found.some(({ deviceId }) => deviceId === chosen)) $("microphone").value = chosen;
}

/**
 * Offer the models of the server.
 *
 * @returns {Promise<string[]>} labels of the default one
 * @throws {SerServerError}
 */
export async function listModels(base) {
  const models = await request(new URL("v1/models", base), { token: currentToken() });
  const choices = models.map((model) => new Option(model.name, model.default ? "" : model.name));
  $("model").replaceChildren(...choices);
  return (models.find((model) => model.default) ?? models[0])?.labels ?? [];
}

/** The sheet of options goes away when one looks elsewhere. */
export function listenToOptions() {
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

/** Colours as the system, light or dark; then is called whenever they change. */
export function listenToTheme(then) {
  const root = document.documentElement;
  const name = () => {
    const words = `Colours: ${THEME_WORDS[root.dataset.theme ?? ""]}`;
    $("theme").setAttribute("aria-label", words);
    $("theme").title = words;
    then();
  };
  $("theme").addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // Then it holds for this page alone.
    }
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", then);
  name();
}

/** Take a file that is dropped anywhere. */
export function listenToDrops(take) {
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
    if (file) take(file);
  });
}
