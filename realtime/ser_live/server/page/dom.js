/** The few words that all parts of the page need to speak of its elements. */

export const $ = (id) => document.getElementById(id);

/** Change a text only if it is another: screen readers and layouts notice every writing. */
export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
