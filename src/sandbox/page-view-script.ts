/** The list and the reader of the page, run before `PAGE_SCRIPT` and under the same rules. */
export const PAGE_VIEW_SCRIPT = String.raw`
'use strict';
const $ = (id) => document.getElementById(id);
const FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:";
const CHANNELS = { EMAIL: 'E-mail', SMS: 'Text message', PUSH: 'Push notification' };
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

let entries = [];
let selected = null;
let tab = null;

function make(name, properties, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

const unread = new Set();

function matching() {
  const wanted = $('search').value.trim().toLowerCase();
  return entries.filter((entry) => entry.address.toLowerCase().includes(wanted));
}

function renderList() {
  const focused = document.activeElement?.dataset?.id;
  const list = matching();
  const rows = list.map((entry) => make('li', {}, rowOf(entry)));
  $('messages').replaceChildren(...rows);
  const total = entries.length + (entries.length === 1 ? ' message' : ' messages');
  $('count').textContent = list.length === entries.length ? total : list.length + ' of ' + total;
  $('none').hidden = list.length > 0 || entries.length === 0;
  $('none').textContent = 'No message to an address with “' + $('search').value.trim() + '”.';
  $('panes').classList.toggle('nothing', entries.length === 0);
  if (focused) document.querySelector('.row[data-id="' + CSS.escape(focused) + '"]')?.focus({ preventScroll: true });
}

function rowOf(entry) {
  const at = new Date(entry.receivedAt);
  const isToday = at.toDateString() === new Date().toDateString();
  const row = make('button', { type: 'button', className: 'row' },
    make('span', { className: unread.has(entry.id) ? 'who fresh' : 'who', textContent: entry.address }),
    make('time', { dateTime: entry.receivedAt, textContent: isToday ? time.format(at) : date.format(at) }),
    make('span', { className: 'what', textContent: titleOf(entry) }),
    make('span', { className: 'preview', textContent: previewOf(entry) }));
  row.dataset.id = entry.id;
  if (entry.id === selected) row.setAttribute('aria-current', 'true');
  row.addEventListener('click', () => show(entry.id, true));
  return row;
}

function titleOf(entry) {
  return entry.title || CHANNELS[entry.channel] || entry.channel;
}

function previewOf(entry) {
  const text = (entry.text ?? '').slice(0, 400).replace(/\s+/g, ' ').trim();
  return (text.startsWith(titleOf(entry)) ? text.slice(titleOf(entry).length).trim() : text) || '\u00a0';
}

function show(id, byHand) {
  const entry = entries.find((candidate) => candidate.id === id) ?? null;
  selected = entry?.id ?? null;
  unread.delete(selected);
  tab = null;
  for (const row of document.querySelectorAll('.row')) {
    if (row.dataset.id === selected) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
    if (row.dataset.id === selected) row.querySelector('.fresh')?.classList.remove('fresh');
  }
  $('empty').hidden = entries.length > 0;
  $('article').hidden = entry === null;
  if (entry === null) return;
  if (byHand) $('panes').classList.add('reading');
  if (byHand && $('back').offsetParent !== null) $('title').focus();
  $('title').textContent = titleOf(entry);
  const facts = [[CHANNELS[entry.channel] ?? entry.channel, entry.address], ['Received', full.format(new Date(entry.receivedAt))]];
  const notification = entry.headers['X-Heliograph-Notification'];
  if (notification) facts.push(['Notification', notification]);
  $('facts').replaceChildren(...facts.flatMap(([name, value]) => [make('dt', { textContent: name }), make('dd', { textContent: value })]));
  renderTabs(entry);
}

function tabsOf(entry) {
  const tabs = [];
  if (entry.html !== null) tabs.push(['Message', htmlPanel]);
  tabs.push([entry.html === null ? 'Message' : 'Plain text', textPanel]);
  if (Object.keys(entry.headers).length > 0) tabs.push(['Headers', headersPanel]);
  return tabs;
}

function renderTabs(entry) {
  const tabs = tabsOf(entry);
  const chosen = tabs.find(([name]) => name === tab) ?? tabs[0];
  const buttons = tabs.map(([name], index) => {
    const isChosen = name === chosen[0];
    const button = make('button', { type: 'button', id: 'tab-' + index, textContent: name, tabIndex: isChosen ? 0 : -1 });
    button.setAttribute('role', 'tab');
    button.setAttribute('aria-selected', String(isChosen));
    button.setAttribute('aria-controls', 'panel');
    button.addEventListener('click', () => choose(entry, name));
    return button;
  });
  $('tabs').replaceChildren(...buttons);
  $('panel').setAttribute('aria-labelledby', 'tab-' + tabs.indexOf(chosen));
  $('panel').replaceChildren(...chosen[1](entry));
}

function choose(entry, name) {
  tab = name;
  renderTabs(entry);
  document.querySelector('[role=tab][aria-selected=true]').focus();
}

function htmlPanel(entry) {
  const frame = make('iframe', { className: 'sheet', title: 'The message as its recipient sees it' });
  frame.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox');
  frame.setAttribute('referrerpolicy', 'no-referrer');
  frame.srcdoc = '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="' + FRAME_POLICY + '">'
    + '<base target="_blank"><style>body{font:16px/1.5 system-ui,sans-serif;margin:20px;color:#1b1b1b;background:#fff}</style>' + entry.html;
  const note = make('p', { className: 'note', textContent: 'Scripts are off and nothing is loaded from elsewhere. Links open in a new tab.' });
  return [frame, note];
}

function textPanel(entry) {
  return [make('pre', { className: 'paper', textContent: entry.text ?? 'This message has no plain text.' })];
}

function headersPanel(entry) {
  const rows = Object.entries(entry.headers).map(([name, value]) =>
    make('tr', {}, make('th', { scope: 'row', textContent: name }), make('td', { textContent: value })));
  return [make('table', { className: 'headers' }, make('tbody', {}, ...rows))];
}
`;
