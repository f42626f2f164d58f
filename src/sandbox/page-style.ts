export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --page: #eff1ef; --surface: #ffffff; --raised: #f7f8f6; --ink: #171b1f; --muted: #59636c; --line: #dde1dd;
  --accent: #a34a06; --accent-ink: #ffffff; --glow: #fdf0df; --error: #a3231f; --shadow: 0 1px 2px #1a22281a, 0 8px 24px #1a22280d;
  --stage: #f7f8f6; --card: #ffffff;
  --serif: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'URW Palladio L', P052, Georgia, serif;
  --sans: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1215; --surface: #161b1f; --raised: #1c2227; --ink: #e9ecee; --muted: #9aa6ae; --line: #2a3238;
    --accent: #f4b04f; --accent-ink: #1d1204; --glow: #2d2416; --error: #ff9c93; --shadow: 0 0 0 1px #ffffff08, 0 12px 32px #00000059;
    --stage: #12171a; --card: #21292f;
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
.filter { display: flex; flex-wrap: wrap; gap: 4px 2px; min-width: 0; margin: 0; padding: 8px 10px; border: 0; border-bottom: 1px solid var(--line); }
.filter label { position: relative; cursor: pointer; }
.filter span { display: block; padding: 3px 7px; border-radius: 999px; color: var(--muted); font-size: 13px; white-space: nowrap; }
.filter b { font-weight: 400; font-variant-numeric: tabular-nums; }
.filter label:hover span { background: var(--raised); color: var(--ink); }
.filter input:checked + span { background: var(--glow); color: var(--ink); font-weight: 600; }
.filter input:focus-visible + span { outline: 2px solid var(--accent); outline-offset: 1px; }
.state { color: var(--muted); font-size: 13px; white-space: nowrap; }
.state::before { content: ''; display: inline-block; width: 7px; height: 7px; margin-right: 7px; border-radius: 50%; background: var(--accent); vertical-align: 1px; }
.state.broken { color: var(--error); }
.state.broken::before { background: var(--error); }
.list ol { overflow-y: auto; flex: 1; }
.rest { padding: 10px 20px; text-align: center; }
.row { display: grid; grid-template-columns: 16px minmax(0, 1fr) auto; gap: 0 12px; width: 100%; padding: 12px 20px; text-align: left; border: 0; border-bottom: 1px solid var(--line); background: none; position: relative; }
.row:hover { background: var(--raised); }
.row:focus-visible { outline-offset: -3px; }
.row[aria-current] { background: var(--glow); }
.row[aria-current]::after { content: ''; position: absolute; inset: 0 auto 0 0; width: 3px; background: var(--accent); }
.row > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.icon { flex: none; color: var(--muted); }
.row .icon { margin-top: 3px; }
.row[aria-current] .icon { color: var(--accent); }
.row .who { display: flex; align-items: baseline; font-weight: 600; }
.row .who > span:not([class]) { overflow: hidden; text-overflow: ellipsis; }
.platform { flex: none; margin-left: 8px; padding: 0 7px; border: 1px solid var(--line); border-radius: 999px; color: var(--muted); font: 400 12px/18px var(--sans); }
.row .fresh::before { content: ''; display: inline-block; width: 8px; height: 8px; margin-right: 7px; border-radius: 50%; background: var(--accent); vertical-align: 1px; }
.row time { color: var(--muted); font-size: 13px; font-variant-numeric: tabular-nums; line-height: 22px; }
.row .what, .row .preview { grid-column: 2 / -1; }
.row .preview { color: var(--muted); font-size: 13.5px; }
.none { padding: 28px 20px; color: var(--muted); }

.reader { min-width: 0; min-height: 0; display: flex; flex-direction: column; padding: 24px 28px 28px; overflow-y: auto; }
.reader article { display: flex; flex-direction: column; flex: 1; min-height: 420px; }
.reader h2 { font: 600 25px/1.25 var(--serif); overflow-wrap: anywhere; text-wrap: balance; }
.reader h3 { font: 600 15px/1.4 var(--sans); margin: 26px 0 10px; }
#title { display: flex; align-items: baseline; gap: 12px; }
#title .icon { width: 20px; height: 20px; color: var(--accent); transform: translateY(3px); }
#title .platform { margin: 0; align-self: center; }
#title > span:not([class]) { min-width: 0; }
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
.stage { padding: 26px 24px; border: 1px solid var(--line); border-radius: 14px; background: var(--stage); }
.sender { margin-bottom: 12px; text-align: center; color: var(--muted); font-size: 13px; }
.bubble { position: relative; width: fit-content; max-width: min(460px, 92%); padding: 10px 16px; border-radius: 18px 18px 18px 5px; background: var(--card); box-shadow: var(--shadow); white-space: pre-wrap; overflow-wrap: anywhere; }
.stamp { margin: 6px 0 0 16px; color: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
.billing { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 14px; margin-top: 16px; }
.bars { display: flex; flex-wrap: wrap; gap: 3px; }
.bars i { width: 14px; height: 6px; border-radius: 2px; background: var(--accent); }
.billing + .note { margin-top: 4px; }
.card { width: min(420px, 100%); margin: 0 auto; padding: 14px 18px 16px; border-radius: 18px; background: var(--card); box-shadow: var(--shadow); overflow-wrap: anywhere; }
.card-head { display: flex; align-items: center; gap: 8px; margin-bottom: 8px; color: var(--muted); font-size: 13px; }
.card-head .icon { box-sizing: content-box; padding: 4px; border-radius: 7px; background: var(--accent); color: var(--accent-ink); }
.card-head time { margin-left: auto; font-variant-numeric: tabular-nums; }
.card-title { font-weight: 600; }
.card-body { white-space: pre-wrap; }
.card-link { margin-top: 10px; padding-top: 10px; border-top: 1px solid var(--line); font-size: 13.5px; color: var(--muted); }
.card-link a { color: var(--accent); text-underline-offset: 3px; }
.headers { width: 100%; border-collapse: collapse; background: var(--surface); border: 1px solid var(--line); border-radius: 10px; box-shadow: var(--shadow); overflow: hidden; border-spacing: 0; }
.headers th, .headers td { padding: 8px 16px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); font: 13px/1.5 var(--mono); overflow-wrap: anywhere; white-space: pre-wrap; }
.headers tr:last-child > * { border-bottom: 0; }
.headers th { width: 1%; min-width: 210px; color: var(--muted); font-weight: 400; }
.back { display: none; align-self: flex-start; margin: -8px 0 8px -10px; }

.empty { margin: auto; max-width: 640px; width: 100%; }
.empty h2 { margin-bottom: 8px; }
.more { margin-top: 20px; }
.plain { border: 0; padding: 0; background: none; color: var(--accent); text-decoration: underline; text-underline-offset: 3px; }
.example { margin-top: 16px; border: 1px solid var(--line); border-radius: 10px; background: var(--surface); box-shadow: var(--shadow); }
.example div { display: flex; justify-content: space-between; align-items: center; padding: 4px 8px 4px 18px; border-bottom: 1px solid var(--line); font-size: 13px; color: var(--muted); }
.example pre { margin: 0; padding: 14px 18px 16px; overflow-x: auto; }
.recipients { border-collapse: collapse; width: 100%; }
.recipients th, .recipients td { text-align: left; vertical-align: top; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); font-size: 14px; }
.recipients tr:last-child > * { border-bottom: 0; }
.recipients th { font-weight: 400; white-space: nowrap; }
dialog { width: min(620px, calc(100vw - 32px)); border: 1px solid var(--line); border-radius: 14px; padding: 24px 28px 0; background: var(--surface); color: var(--ink); box-shadow: var(--shadow); }
dialog::backdrop { background: #0b0f1280; }
dialog h2 { font: 600 21px/1.3 var(--serif); margin-bottom: 6px; }
dialog h3 { font: 600 15px/1.4 var(--sans); margin-top: 22px; }
dialog h3 + p { font-size: 14px; }
dialog .recipients { margin: 6px 0 0; }
dialog form { position: sticky; bottom: 0; margin: 16px -28px 0; padding: 14px 28px; background: var(--surface); border-top: 1px solid var(--line); }

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
  .panes:not(.nothing) .back { display: block; }
  .headers th, .headers td { display: block; width: auto; padding: 6px 14px 8px; }
  .headers th { padding-bottom: 0; border-bottom: 0; }
  .headers td { padding-top: 0; }
  .headers tr:last-child th { border-bottom: 0; }
  .stage { padding: 18px 14px; }
  .filter { justify-content: space-between; }
  .recipients th, .recipients td { display: block; padding-right: 0; }
  .recipients th { border-bottom: 0; padding-bottom: 0; white-space: normal; overflow-wrap: anywhere; }
  .recipients td { padding-top: 2px; }
}
`;
