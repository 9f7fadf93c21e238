/** The report's style sheet: system fonts, light and dark by the reader's preference, printable. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #ffffff;
  --panel: #f6f7f9;
  --text: #1b1f24;
  --muted: #59636e;
  --rule: #d5dae0;
  --grid: #e4e8ec;
  --accent: #0a5fb4;
  --highlight: #e3f1e6;
  --c0: #0072b2;
  --c1: #c8500a;
  --c2: #00855f;
  --c3: #a8437c;
  --c4: #a97400;
  --c5: #5b51b8;
  --c6: #2489b8;
  --c7: #8a3a2a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b;
    --panel: #1c2026;
    --text: #e6e9ed;
    --muted: #9aa5b1;
    --rule: #373e47;
    --grid: #2a3037;
    --accent: #6cb2ff;
    --highlight: #1d3325;
    --c0: #4da6e0;
    --c1: #f08a4b;
    --c2: #3fc79a;
    --c3: #e08abf;
    --c4: #e0ac3c;
    --c5: #a79df5;
    --c6: #7cd0f0;
    --c7: #d98b78;
  }
}
* {
  box-sizing: border-box;
}
body {
  margin: 0 auto;
  max-width: 1180px;
  padding: 2.5rem 1.5rem 4rem;
  background: var(--page);
  color: var(--text);
  font:
    16px/1.55 system-ui,
    -apple-system,
    "Segoe UI",
    Roboto,
    sans-serif;
}
h1 {
  font-size: 1.9rem;
  line-height: 1.2;
  margin: 0 0 0.3rem;
  letter-spacing: -0.01em;
}
h2 {
  font-size: 1.3rem;
  margin: 3rem 0 0.4rem;
  padding-top: 1rem;
  border-top: 1px solid var(--rule);
}
h3 {
  font-size: 1.05rem;
  margin: 1.8rem 0 0.2rem;
}
p {
  margin: 0.3rem 0 0.8rem;
  max-width: 78ch;
}
a {
  color: var(--accent);
}
code {
  font:
    0.9em ui-monospace,
    "SF Mono",
    Menlo,
    Consolas,
    monospace;
  overflow-wrap: anywhere;
}
.muted,
figcaption {
  color: var(--muted);
}
.scroll {
  overflow-x: auto;
}
table {
  border-collapse: collapse;
  font-variant-numeric: tabular-nums;
  font-size: 0.92rem;
}
th,
td {
  padding: 0.4rem 0.6rem;
  border-bottom: 1px solid var(--rule);
  text-align: left;
  vertical-align: top;
}
thead th {
  color: var(--muted);
  font-weight: 600;
  vertical-align: bottom;
  border-bottom-width: 2px;
}
td.right,
th.right {
  text-align: right;
  white-space: nowrap;
}
tbody th {
  font-weight: 600;
  white-space: nowrap;
}
.comparison {
  width: 100%;
}
.comparison small {
  display: block;
  color: var(--muted);
  font-size: 0.8rem;
  font-weight: 400;
}
.comparison td.best {
  background: var(--highlight);
  font-weight: 700;
}
.key {
  display: inline-block;
  width: 0.7em;
  height: 0.7em;
  margin-right: 0.5em;
  border-radius: 50%;
  background: var(--c);
}
.findings {
  padding-left: 1.2rem;
  max-width: 84ch;
}
.findings li {
  margin: 0.25rem 0;
}
figure {
  margin: 1rem 0 0;
}
figcaption {
  font-size: 0.9rem;
  margin-bottom: 0.4rem;
  max-width: 78ch;
}
.pair {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr));
  gap: 1rem 2rem;
}
details {
  margin: 0.6rem 0;
}
summary {
  cursor: pointer;
  color: var(--accent);
  font-size: 0.9rem;
}
.chart {
  display: block;
  width: 100%;
  height: auto;
  max-width: 860px;
  font-size: 12px;
}
.pair .chart {
  max-width: none;
}
.chart text {
  fill: var(--muted);
  font-family: inherit;
  font-variant-numeric: tabular-nums;
}
.chart .axis-title {
  fill: var(--text);
}
.chart .grid {
  stroke: var(--grid);
}
.chart .axis {
  stroke: var(--muted);
}
.chart .label {
  fill: var(--text);
  font-weight: 600;
}
.chart .line {
  fill: none;
  stroke: var(--c);
  stroke-width: 2;
  stroke-linejoin: round;
  stroke-linecap: round;
}
.chart .dot {
  fill: var(--c);
  stroke: var(--page);
}
.chart .leader {
  stroke: var(--muted);
}
.chart .bars rect {
  fill: var(--c);
}
.chart .weight {
  fill: var(--c);
  fill-opacity: 0.6;
  stroke: var(--c);
}
.chart .whisker {
  stroke: var(--c);
}
.chart .quartiles {
  stroke: var(--c);
  stroke-width: 7;
  stroke-opacity: 0.55;
}
.chart .median {
  stroke: var(--text);
  stroke-width: 2;
}
.chart .initial {
  fill: none;
  stroke: var(--text);
  stroke-width: 1.5;
  stroke-dasharray: 5 3;
}
.legend {
  display: flex;
  flex-wrap: wrap;
  gap: 0.2rem 1.3rem;
  list-style: none;
  margin: 0.5rem 0;
  padding: 0;
  font-size: 0.9rem;
}
.legend li {
  white-space: nowrap;
}
.swatch {
  width: 26px;
  height: 8px;
  margin-right: 0.35rem;
  vertical-align: middle;
}
.swatch line {
  stroke: var(--c);
  stroke-width: 2.5;
}
.series-base {
  --c: var(--text);
}
.series-0 {
  --c: var(--c0);
}
.series-1 {
  --c: var(--c1);
}
.series-2 {
  --c: var(--c2);
}
.series-3 {
  --c: var(--c3);
}
.series-4 {
  --c: var(--c4);
}
.series-5 {
  --c: var(--c5);
}
.series-6 {
  --c: var(--c6);
}
.series-7 {
  --c: var(--c7);
}
.choice > input {
  margin: 0 0.3rem 0 0;
}
.choice > label {
  margin-right: 1.2rem;
  font-size: 0.9rem;
}
.choice > .when-log,
.choice > input.log:checked ~ .when-linear {
  display: none;
}
.choice > input.log:checked ~ .when-log {
  display: grid;
}
.sample {
  margin: 1.2rem 0;
  padding: 0.2rem 1.2rem 1rem;
  background: var(--panel);
  border: 1px solid var(--rule);
  border-radius: 0.5rem;
}
.sample table {
  width: 100%;
}
.sample th {
  width: 8rem;
}
.sample td {
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.sample .source {
  white-space: pre-wrap;
  overflow-wrap: anywhere;
  max-height: 16rem;
  overflow-y: auto;
  font-size: 0.92rem;
}
.sample .reference {
  border-bottom-width: 2px;
}
dl {
  display: grid;
  grid-template-columns: max-content 1fr;
  gap: 0.35rem 1.5rem;
  margin: 1rem 0;
}
dt {
  color: var(--muted);
}
dd {
  margin: 0;
  overflow-wrap: anywhere;
}
@media (max-width: 40rem) {
  dl {
    grid-template-columns: 1fr;
  }
  dd {
    margin-bottom: 0.5rem;
  }
}
@media print {
  body {
    max-width: none;
    padding: 0;
  }
  .sample,
  figure {
    break-inside: avoid;
  }
}
`;
