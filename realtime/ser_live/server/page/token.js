/** The token of a server that wants one: it comes behind the # of the address, once. */

const KEY = "ser-live token";
let token = "";

/** Take the token out of the address, so that it is not copied by accident. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    keepToken(given);
    return true;
  }
  try {
    token = sessionStorage.getItem(KEY) ?? "";
  } catch {
    // A browser that keeps nothing asks again.
  }
  return false;
}

/** Use a token for as long as this tab is open. */
export function keepToken(typed) {
  // Servers have no tokens of other characters, and neither a stream nor a header can carry them.
  const given = typed.trim().replace(/[^\w.~-]/g, "%");
  token = given;
  try {
    sessionStorage.setItem(KEY, given);
  } catch {
    // Then for as long as this page is.
  }
}

export function currentToken() {
  return token;
}
