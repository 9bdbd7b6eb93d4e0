// One plot of amplitude spectral densities over frequency.

import { shape } from "./elements.js";

function ticks(low, high) {
  // Powers of ten, and 2 and 5 between them where there are few of those.
  const fine = high - low < 2 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const digit of fine) {
      const at = power + Math.log10(digit);
      if (at >= low && at <= high) found.push([at, `${digit}e${power}`]);
    }
  }
  const step = Math.ceil(found.length / 6);
  return found.filter((_, index) => index % step === 0);
}

function frequencyTicks(low, high, logarithmic, most) {
  if (logarithmic) {
    return [10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((f) => f >= low && f <= high);
  }
  const raw = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let f = Math.ceil(low / step) * step; f <= high; f += step) found.push(f);
  return found;
}

export function drawSpectrum(svg, spectrum, bands, logarithmic, height, about) {
  const width = Math.max(svg.clientWidth, 200);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label", about);
  if (!spectrum) {
    svg.replaceChildren(shape("text", { x: 12, y: 24 }, "no spectrum yet"));
    return;
  }
  const [left, right, top, bottom] = [44, width - 8, 8, height - 22];
  const values = [...spectrum.raw, ...spectrum.cleaned].filter((v) => v !== null);
  const peak = Math.max(...(spectrum.estimate || []).filter((v) => v !== null), -Infinity);
  let low = Math.min(...values);
  let high = Math.max(...values, peak);
  if (!Number.isFinite(low)) [low, high] = [-1, 0];
  const margin = Math.max(0.05 * (high - low), 0.05);
  [low, high] = [low - margin, high + margin];
  const scale = logarithmic ? Math.log10 : (f) => f;
  const first = scale(spectrum.frequency[0]);
  const last = scale(spectrum.frequency[spectrum.frequency.length - 1]);
  const x = (f) => left + (right - left) * (scale(f) - first) / (last - first || 1);
  const y = (v) => bottom - (bottom - top) * (v - low) / (high - low);
  const parts = [];
  for (const [from, to] of bands) {
    const [a, b] = [Math.max(x(from), left), Math.min(x(to), right)];
    if (b > a) {
      parts.push(shape("rect", { x: a, y: top, width: b - a, height: bottom - top,
        class: "band" }));
    }
  }
  for (const [at, text] of ticks(low, high)) {
    parts.push(shape("line", { x1: left, x2: right, y1: y(at), y2: y(at), class: "grid" }));
    parts.push(shape("text", { x: left - 4, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  const edges = [spectrum.frequency[0], spectrum.frequency[spectrum.frequency.length - 1]];
  for (const f of frequencyTicks(...edges, logarithmic, width / 70)) {
    parts.push(shape("line", { x1: x(f), x2: x(f), y1: top, y2: bottom, class: "grid" }));
    parts.push(shape("text", { x: x(f), y: bottom + 15, "text-anchor": "middle" },
      `${Number(f.toFixed(2))}`));
  }
  for (const name of ["estimate", "raw", "cleaned"]) {
    const curve = spectrum[name];
    if (!curve) continue;
    let path = "";
    let pen = "M";
    curve.forEach((value, index) => {
      if (value === null || value < low) {
        pen = "M";
        return;
      }
      path += `${pen}${x(spectrum.frequency[index]).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    });
    parts.push(shape("path", { d: path, class: `curve ${name}` }));
  }
  svg.replaceChildren(...parts);
}
