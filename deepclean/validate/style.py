"""The look of a report's page."""

STYLE = """
:root { --ink: #1c1917; --paper: #fafaf9; --card: #fff; --line: #e7e5e4; --soft: #78716c;
  --good: #15803d; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e5e4; --paper: #0c0a09; --card: #1c1917; --line: #44403c; --soft: #a8a29e;
    --good: #4ade80; --bad: #f87171; }
  figure img { filter: invert(0.9) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: .4rem 0 0; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line);
  padding-bottom: .2rem; }
header { border-left: .5rem solid var(--soft); padding: .2rem 0 .2rem 1rem; }
header p { margin: .2rem 0; color: var(--soft); }
header.pass { border-color: var(--good); }
header.fail { border-color: var(--bad); }
#verdict strong { font-size: 1.7rem; margin-right: .6rem; }
.pass #verdict strong, .met { color: var(--good); }
.fail #verdict strong, .unmet { color: var(--bad); }
.met, .unmet { font-weight: 600; white-space: nowrap; }
.tiles { display: grid; gap: .8rem; margin-top: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.tile, figure, .table { background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
.tile { padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.tile span, figcaption { color: var(--soft); font-size: .85rem; }
.table { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .8rem; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 600; }
code { font-size: .8rem; word-break: break-all; }
.figures { display: grid; gap: .8rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
figure { margin: 0; padding: .8rem; }
.wide { grid-column: 1 / -1; }
figure img { width: 100%; height: auto; display: block; }
details { margin: .6rem 0; color: var(--soft); }
pre { font-size: .8rem; overflow-x: auto; }
a { color: inherit; }
"""
