/** Exports for other programs: the formats of `ser-live --output`. */

/** A row per prediction, a column per label's probability (RFC 4180). */
export function csv(history) {
  const { predictions, labels } = history;
  const columns = ["index", "start_seconds", "end_seconds", "state", "label", "confidence"];
  columns.push("changed", "degraded", "lag_seconds");
  const [source, recognizedAt] = [history.name, history.recognizedAt.toISOString()];
  const names = labels.map((label) => `probability_${label}`);
  const rows = [[...columns, ...names, "source", "recognized_at"]];
  for (const one of predictions) {
    const shares = labels.map((label) => one.probabilities?.[label]);
    rows.push([...columns.map((column) => one[column]), ...shares, source, recognizedAt]);
  }
  return rows.map((row) => row.map(field).join(",") + "\r\n").join("");
}

/** Everything, each line tagged by its type; the first says what it is of. */
export function jsonLines({ name, recognizedAt, model, records, openSegment }) {
  const all = [{ type: "source", name, recognized_at: recognizedAt, model }, ...records];
  if (openSegment) all.push({ type: "segment", ...openSegment });
  return all.map((record) => JSON.stringify(record) + "\n").join("");
}

/** A label track of Audacity: start, end and label of each segment, between tabs. */
export function audacity({ allSegments }) {
  const line = ({ start_seconds: start, end_seconds: end, label }) =>
    `${start.toFixed(6)}\t${end.toFixed(6)}\t${label.split(/\s+/).join(" ")}\n`;
  return allSegments.map(line).join("");
}

export const FORMATS = {
  csv: { write: csv, ending: ".csv", type: "text/csv" },
  jsonl: { write: jsonLines, ending: ".jsonl", type: "application/jsonl" },
  audacity: { write: audacity, ending: ".txt", type: "text/plain" },
};

/** Hand a history to the browser as a file. */
export function save(history, { write, ending, type }) {
  const url = URL.createObjectURL(new Blob([write(history)], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName(history) + ending;
  link.click();
  history.isUnsaved = false;
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Source, date and time of day. */
function fileName({ name, recognizedAt: at }) {
  const plain = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
  const digits = [at.getFullYear(), at.getMonth() + 1, at.getDate(), at.getHours(), at.getMinutes()]
    .map((part) => String(part).padStart(2, "0"));
  return `${plain.replace(/^-+|-+$/g, "") || "ser-live"}-${digits.join("-")}`;
}

function field(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
