// Numbers, times and sizes for people. Times are UTC, as in mlmeta's other views.

const GROUPED = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count: 12,345. */
export function count(value) {
  return GROUPED.format(value);
}

/** A count with its word: "1 run", "12 runs". */
export function amount(value, many) {
  return `${count(value)} ${value === 1 ? one(many) : many}`;
}

function one(many) {
  return many.endsWith("ies") ? `${many.slice(0, -3)}y` : many.replace(/s$/, "");
}

/** A value: six significant digits, or more where they are the whole of it. */
export function number(value) {
  if (value === undefined || value === null) return "–";
  if (typeof value === "string" || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return GROUPED.format(value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return value.toExponential(3);
  return String(Number(value.toPrecision(6)));
}

/** A value as the page has it, with all its digits. */
export function exact(value) {
  return Number.isFinite(value) && !Number.isInteger(value) ? String(value) : number(value);
}

/** A value for the labels of an axis. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e5 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

/** 2025-08-15 23:29 */
export function time(milliseconds) {
  const date = new Date(milliseconds ?? NaN);
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().slice(0, 16).replace("T", " ");
}

/** 2025-08-15 */
export function day(milliseconds) {
  return time(milliseconds).slice(0, 10);
}

const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** How long: the two largest units. */
export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined || !Number.isFinite(milliseconds) || milliseconds < 0) return "–";
  let left = milliseconds / 1000;
  if (left < 10) return `${Number(left.toFixed(1))} s`;
  const parts = [];
  for (const [size, unit] of UNITS) {
    const whole = Math.floor(left / size);
    if (whole > 0 && parts.length < 2) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
    left -= whole * size;
  }
  return parts.join(" ");
}

/** 1.2 MB */
export function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return at === 0 ? amount(size, "bytes") : `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

/** The beginning of a text. */
export function cut(text, most) {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("")}…`;
}
