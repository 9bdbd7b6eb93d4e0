// Elements of the page, and how numbers and times are said.

const SVG = "http://www.w3.org/2000/svg";

export function put(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

export const entry = (term, ...found) =>
  put("div", {}, put("dt", {}, term), put("dd", {}, ...found));

export const number = (value, digits) => (value === null || value === undefined
  ? "–" : value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1"));
export const seconds = (value) => (value < 120 ? `${value.toFixed(0)} s`
  : value < 7200 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`);
export const counted = (counts) => Object.entries(counts).filter(([, n]) => n)
  .map(([why, n]) => `${n} ${why}`).join(", ");
export const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);
export const clock = (unix, full) => new Date(1000 * unix).toISOString().slice(11, full ? 19 : 16);
export const gps = (ns) => (ns === null ? "–" : String(Math.round(ns / 1e9)));
