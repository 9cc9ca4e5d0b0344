/** Errors, which stay on the page, and notices, which disappear. */

import { $, write } from "./dom.js";
import { keepToken } from "./token.js";

const NOTICE_MILLISECONDS = 15_000;
let timer = 0;

/** Tell what went wrong. */
export function showTrouble(words, wantsToken = false) {
  write($("trouble-words"), words);
  $("trouble").hidden = false;
  if (!wantsToken) return;
  $("token-form").hidden = false;
  $("token").focus();
}

/** It is over. */
export function hideTrouble() {
  $("trouble").hidden = true;
  $("token-form").hidden = true;
}

/** Tell something that passes, or lasts until it is hidden; nothing where there are no words. */
export function notice(words, lasts = false) {
  if (!words) return;
  write($("notice"), words);
  clearTimeout(timer);
  if (!lasts) timer = setTimeout(hideNotice, NOTICE_MILLISECONDS);
}

export function hideNotice() {
  write($("notice"), "");
}

/** Ask whether the results of a session may go. */
export async function askToDiscard() {
  const dialog = $("ask");
  if (dialog.open) return false;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "discard";
}

/** Let the person close a trouble and give a token; then is called when there is a new one. */
export function listenToNotices(then) {
  $("trouble-close").addEventListener("click", () => ($("trouble").hidden = true));
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken($("token").value);
    $("token").value = "";
    hideTrouble();
    then();
  });
}
