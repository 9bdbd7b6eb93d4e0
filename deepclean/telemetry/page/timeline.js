// The last hours by minute: a lane for each thing that may fail, and the latency.

import { clock, counted, number, shape, total } from "./elements.js";

function lane(minute, name) {
  if (name === "output") {
    const frames = total(minute.frames);
    if (total(minute.lost)) return "bad";
    if (!frames) return minute.starts ? "none" : "bad";
    return minute.frames.cleaned === frames ? "ok" : minute.frames.cleaned ? "part" : "bad";
  }
  if (name === "input") {
    const without = Math.max(total(minute.gaps), minute.waiting);
    return without >= 50 ? "bad" : without ? "part" : "ok";
  }
  if (name === "witnesses") return minute.witnesses.length ? "part" : "ok";
  const coupling = minute.couplings[name.slice(5)];
  if (!coupling) return "none";
  return coupling.closed === 1 ? "bad" : coupling.closed ? "part" : "ok";
}

export function drawTimeline(svg, state) {
  const width = Math.max(svg.clientWidth, 200);
  const names = ["output", "input", "witnesses",
    ...Object.keys(state.status.configured).map((name) => `gate ${name}`)];
  const [left, right, step, top] = [Math.min(110, width / 3.4), width - 6, 18, 6];
  const plot = 40;
  const height = top + names.length * step + plot + 28;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  const now = Math.floor((state.status.written) / 60) * 60;
  const first = now - 3600 * state.hours + 60;
  const x = (t) => left + (right - left) * (t - first) / (now + 60 - first);
  const minutes = [...state.minutes.values()].filter((m) => m.t >= first && m.t <= now);
  const parts = [];
  names.forEach((name, index) => {
    const y = top + index * step;
    parts.push(shape("text", { x: 6, y: y + 12, class: "name" }, name));
    let run = null;
    const close = () => {
      if (!run) return;
      const tall = { ok: 5, part: 9, bad: 14, none: 2 }[run.kind];
      parts.push(shape("rect", { x: x(run.from), width: Math.max(x(run.to) - x(run.from), 1),
        y: y + 1 + (14 - tall), height: tall, class: run.kind }));
      run = null;
    };
    for (const minute of minutes) {
      const kind = lane(minute, name);
      if (run && (run.kind !== kind || run.to !== minute.t)) close();
      run = run || { kind, from: minute.t };
      run.to = minute.t + 60;
    }
    close();
  });
  const base = top + names.length * step + plot;
  parts.push(shape("text", { x: 6, y: base - plot / 2 + 8, class: "name" }, "latency"));
  const known = minutes.filter((m) => m.latency !== null);
  const most = Math.max(...known.map((m) => m.latency), 1);
  let path = "";
  let before = null;
  for (const minute of known) {
    const y = base - (plot - 8) * minute.latency / most;
    path += `${before === minute.t - 60 ? "L" : "M"}${x(minute.t).toFixed(1)} ${y.toFixed(1)}`;
    path += `L${x(minute.t + 60).toFixed(1)} ${y.toFixed(1)}`;
    before = minute.t;
  }
  parts.push(shape("line", { x1: left, x2: right, y1: base, y2: base, class: "grid" }));
  parts.push(shape("path", { d: path, class: "latency" }));
  parts.push(shape("text", { x: left - 4, y: base - plot + 14, "text-anchor": "end" },
    `${most.toFixed(1)} s`));
  for (const minute of minutes.filter((m) => m.starts)) {
    parts.push(shape("line", { x1: x(minute.t), x2: x(minute.t), y1: top, y2: base,
      class: "restart" }));
  }
  const every = state.hours <= 1 ? 600 : state.hours <= 4 ? 3600 : 10800;
  for (let t = Math.ceil(first / every) * every; t <= now; t += every) {
    parts.push(shape("line", { x1: x(t), x2: x(t), y1: base, y2: base + 4, class: "grid" }));
    if (x(t) > left + 14 && x(t) < right - 14) {
      parts.push(shape("text", { x: x(t), y: base + 16, "text-anchor": "middle" }, clock(t)));
    }
  }
  if (state.chosen !== null && state.chosen >= first) {
    const at = x(state.chosen + 30);
    parts.push(shape("line", { x1: at, x2: at, y1: top, y2: base, class: "cursor" }));
  }
  svg.replaceChildren(...parts);
  svg.setAttribute("aria-label",
    `The last ${state.hours} hours by minute: output, input, witnesses, gates, latency`);
  svg.minuteAt = (px) => Math.floor((first + (px - left) / (right - left) * (now + 60 - first))
    / 60) * 60;
  svg.limits = [first, now];
}

export function minuteInWords(start, minute) {
  const said = [`${clock(start)} UTC`];
  if (!minute) {
    said.push("nothing is known: the daemon did not run, or before its memory");
  } else {
    said.push(`${total(minute.frames)} frames (${counted(minute.frames) || "none"})`);
    if (total(minute.gaps)) said.push(`without strain: ${counted(minute.gaps)} s`);
    else if (minute.waiting) said.push(`waited for strain for ${minute.waiting} s`);
    if (total(minute.lost)) said.push(`lost: ${counted(minute.lost)}`);
    if (minute.latency !== null) said.push(`latency at most ${minute.latency.toFixed(2)} s`);
    if (minute.witnesses.length) said.push(`in trouble: ${minute.witnesses.join(", ")}`);
    for (const [name, one] of Object.entries(minute.couplings)) {
      said.push(`${name}: gate ${one.closed === 1 ? "closed" : one.closed ? "closed in part"
        : "open"}, gain ${one.gain.toFixed(2)}, ratio ${number(one.asd_ratio, 3)}`);
    }
    if (minute.starts) said.push("the daemon started");
  }
  return said.join(" · ");
}
