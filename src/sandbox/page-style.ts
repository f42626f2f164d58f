export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --page: #eff1ef; --surface: #ffffff; --raised: #f7f8f6; --ink: #171b1f; --muted: #59636c; --line: #dde1dd;
  --accent: #a34a06; --accent-ink: #ffffff; --glow: #fdf0df; --error: #a3231f; --shadow: 0 1px 2px #1a22281a, 0 8px 24px #1a22280d;
  --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'URW Palladio L', P052, Georgia, serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1215; --surface: #161b1f; --raised: #1c2227; --ink: #e9ecee; --muted: #9aa6ae; --line: #2a3238;
    --accent: #f4b04f; --accent-ink: #1d1204; --glow: #2d2416; --error: #ff9c93; --shadow: 0 0 0 1px #ffffff08, 0 12px 32px #00000059;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html, body { height: 100%; margin: 0; }
body { background: var(--page); color: var(--ink); font: 15px/1.5 var(--sans); display: flex; flex-direction: column; -webkit-font-smoothing: antialiased; }
button, input { font: inherit; color: inherit; }
button { cursor: pointer; }
h1, h2, h3, p, ol, ul, dl, dd { margin: 0; padding: 0; }
ol, ul { list-style: none; }
code, pre { font-family: var(--mono); font-size: 13px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.off-screen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.muted { color: var(--muted); }

.top { display: flex; align-items: center; gap: 20px; padding: 12px 20px; background: var(--surface); border-bottom: 1px solid var(--line); }
.brand { display: flex; align-items: center; gap: 10px; font: 600 19px/1 var(--serif); letter-spacing: .005em; white-space: nowrap; }
.brand svg { color: var(--accent); flex: none; }
.brand span { color: var(--muted); font-weight: 400; font-style: italic; }
.search { flex: 1; max-width: 420px; position: relative; margin-left: auto; }
.search input { width: 100%; padding: 7px 12px 7px 34px; border: 1px solid var(--line); border-radius: 8px; background: var(--raised); }
.search input::placeholder { color: var(--muted); opacity: 1; }
.search svg { position: absolute; left: 11px; top: 10px; color: var(--muted); pointer-events: none; }
.quiet { border: 1px solid transparent; background: none; border-radius: 8px; padding: 6px 10px; color: var(--muted); white-space: nowrap; }
.quiet:hover { background: var(--raised); border-color: var(--line); color: var(--ink); }

.panes { flex: 1; min-height: 0; display: grid; grid-template-columns: minmax(300px, 380px) 1fr; }
.panes.nothing { grid-template-columns: 1fr; }
.list { display: flex; flex-direction: column; min-height: 0; background: var(--surface); border-right: 1px solid var(--line); }
.nothing .list { display: none; }
.list-head { display: flex; justify-content: space-between; gap: 12px; padding: 10px 20px; color: var(--muted); font-size: 13px; border-bottom: 1px solid var(--line); }
.state { color: var(--muted); font-size: 13px; white-space: nowrap; }
.state::before { content: ''; display: inline-block; width: 7px; height: 7px; margin-right: 7px; border-radius: 50%; background: var(--accent); vertical-align: 1px; }
.state.broken { color: var(--error); }
.state.broken::before { background: var(--error); }
.list ol { overflow-y: auto; flex: 1; }
.row { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; width: 100%; padding: 12px 20px; text-align: left; border: 0; border-bottom: 1px solid var(--line); background: none; position: relative; }
.row:hover { background: var(--raised); }
.row:focus-visible { outline-offset: -3px; }
.row[aria-current] { background: var(--glow); }
.row[aria-current]::after { content: ''; position: absolute; inset: 0 auto 0 0; width: 3px; background: var(--accent); }
.row > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.row .who { font-weight: 600; }
.row .fresh::before { content: ''; display: inline-block; width: 8px; height: 8px; margin-right: 7px; border-radius: 50%; background: var(--accent); vertical-align: 1px; }
.row time { color: var(--muted); font-size: 13px; font-variant-numeric: tabular-nums; line-height: 22px; }
.row .what, .row .preview { grid-column: 1 / -1; }
.row .preview { color: var(--muted); font-size: 13.5px; }
.none { padding: 28px 20px; color: var(--muted); }

.reader { min-width: 0; min-height: 0; display: flex; flex-direction: column; padding: 24px 28px 28px; overflow-y: auto; }
.reader article { display: flex; flex-direction: column; flex: 1; min-height: 420px; }
.reader h2 { font: 600 25px/1.25 var(--serif); overflow-wrap: anywhere; text-wrap: balance; }
.facts { display: grid; grid-template-columns: auto 1fr; gap: 2px 14px; margin: 12px 0 18px; font-size: 14px; }
.facts dt { color: var(--muted); }
.facts dd { overflow-wrap: anywhere; }
.tabs { display: flex; gap: 4px; border-bottom: 1px solid var(--line); }
.tabs button { border: 0; background: none; padding: 8px 12px; margin-bottom: -1px; border-bottom: 2px solid transparent; color: var(--muted); border-radius: 6px 6px 0 0; }
.tabs button:hover { color: var(--ink); }
.tabs button[aria-selected='true'] { color: var(--ink); font-weight: 600; border-bottom-color: var(--accent); }
.panel { flex: 1; display: flex; flex-direction: column; padding-top: 16px; min-height: 0; }
.sheet { flex: 1; width: 100%; min-height: 320px; border: 1px solid var(--line); border-radius: 10px; background: #fff; box-shadow: var(--shadow); color-scheme: light; }
.paper { margin: 0; min-height: 160px; padding: 22px 24px; border: 1px solid var(--line); border-radius: 10px; background: var(--surface); box-shadow: var(--shadow); white-space: pre-wrap; overflow-wrap: anywhere; font: 15px/1.6 var(--sans); }
.note { margin-top: 10px; font-size: 13px; color: var(--muted); }
.headers { width: 100%; border-collapse: collapse; background: var(--surface); border: 1px solid var(--line); border-radius: 10px; box-shadow: var(--shadow); overflow: hidden; border-spacing: 0; }
.headers th, .headers td { padding: 8px 16px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); font: 13px/1.5 var(--mono); overflow-wrap: anywhere; white-space: pre-wrap; }
.headers tr:last-child > * { border-bottom: 0; }
.headers th { width: 1%; min-width: 210px; color: var(--muted); font-weight: 400; }
.back { display: none; align-self: flex-start; margin: -8px 0 8px -10px; }

.empty { margin: auto; max-width: 640px; width: 100%; }
.empty h2 { margin-bottom: 8px; }
.empty h3 { font: 600 15px/1.4 var(--sans); margin: 26px 0 8px; }
.example { margin-top: 16px; border: 1px solid var(--line); border-radius: 10px; background: var(--surface); box-shadow: var(--shadow); }
.example div { display: flex; justify-content: space-between; align-items: center; padding: 4px 8px 4px 18px; border-bottom: 1px solid var(--line); font-size: 13px; color: var(--muted); }
.example pre { margin: 0; padding: 14px 18px 16px; overflow-x: auto; }
.recipients { border-collapse: collapse; width: 100%; }
.recipients th, .recipients td { text-align: left; vertical-align: top; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); font-size: 14px; }
.recipients tr:last-child > * { border-bottom: 0; }
.recipients th { font-weight: 400; white-space: nowrap; }
dialog { width: min(620px, calc(100vw - 32px)); border: 1px solid var(--line); border-radius: 14px; padding: 24px 28px; background: var(--surface); color: var(--ink); box-shadow: var(--shadow); }
dialog::backdrop { background: #0b0f1280; }
dialog h2 { font: 600 21px/1.3 var(--serif); margin-bottom: 6px; }
dialog .recipients { margin: 14px 0 18px; }

.door { flex: 1; display: grid; place-items: center; padding: 24px; }
.door form { width: min(400px, 100%); padding: 32px; border: 1px solid var(--line); border-radius: 16px; background: var(--surface); box-shadow: var(--shadow); }
.door .brand { font-size: 23px; margin-bottom: 10px; }
.door p { color: var(--muted); margin-bottom: 22px; }
.door label { display: block; font-weight: 600; font-size: 14px; margin: 14px 0 5px; }
.door input { width: 100%; padding: 9px 12px; border: 1px solid var(--line); border-radius: 8px; background: var(--raised); font-family: var(--mono); font-size: 14px; }
.door .wrong { color: var(--error); margin: 16px 0 0; font-size: 14px; }
.primary { border: 0; border-radius: 8px; padding: 9px 16px; background: var(--accent); color: var(--accent-ink); font-weight: 600; }
.primary:hover { filter: brightness(1.08); }
.door .primary { width: 100%; margin-top: 22px; padding: 11px; }

@media (max-width: 820px) {
  .top { flex-wrap: wrap; gap: 8px 2px; padding: 10px 14px; }
  .top .brand { flex: 1; font-size: 17px; gap: 7px; }
  .top .quiet { font-size: 13px; padding: 6px; }
  .top .state:not(.broken) { display: none; }
  .top .state { order: 4; }
  .search { order: 3; flex-basis: 100%; max-width: none; }
  .panes { grid-template-columns: 1fr; }
  .list { border-right: 0; }
  .reader { display: none; padding: 18px 16px; }
  .reading .list { display: none; }
  .reading .reader, .nothing .reader { display: flex; }
  .back { display: block; }
  .headers th { min-width: 0; width: 35%; }
}
`;
