/** Exports for other programs: the formats of `ser-live --output`. */

/** A row per prediction, a column per label's probability (RFC 4180). */
export function csv({ predictions, labels }) {
  const columns = ["index", "start_seconds", "end_seconds", "state", "label", "confidence"];
  columns.push("changed", "degraded", "lag_seconds");
  const rows = [[...columns, ...labels.map((label) => `probability_${label}`)]];
  for (const one of predictions) {
    const shares = labels.map((label) => one.probabilities?.[label]);
    rows.push([...columns.map((column) => one[column]), ...shares]);
  }
  return rows.map((row) => row.map(field).join(",") + "\r\n").join("");
}

/** Everything, each line tagged by its type. */
export function jsonLines({ records, openSegment }) {
  const all = openSegment ? [...records, { type: "segment", ...openSegment }] : records;
  return all.map((record) => JSON.stringify(record) + "\n").join("");
}

/** A label track of Audacity: start, end and label of each segment, between tabs. */
export function audacity({ segments, openSegment }) {
  const all = openSegment ? [...segments, openSegment] : segments;
  const line = ({ start_seconds: start, end_seconds: end, label }) =>
    `${start.toFixed(6)}\t${end.toFixed(6)}\t${label.split(/\s+/).join(" ")}\n`;
  return all.map(line).join("");
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
  link.download = fileName(history.name) + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function fileName(name) {
  const plain = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
  return plain.replace(/^-+|-+$/g, "") || "ser-live";
}

function field(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
