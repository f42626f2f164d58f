/** The list of the page, run first, before `PAGE_READER_SCRIPT` and `PAGE_SCRIPT` and under the rules of the latter. */
export const PAGE_VIEW_SCRIPT = String.raw`
'use strict';
const $ = (id) => document.getElementById(id);
const CHANNELS = { EMAIL: 'E-mail', SMS: 'Text message', PUSH: 'Push notification' };
const PLATFORMS = { IOS: 'iOS', ANDROID: 'Android', WEB: 'Web' };
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** More rows at once would keep the browser busy for seconds. */
const ROWS = 200;

let entries = [];
let selected = null;
let limit = ROWS;

function make(name, properties, ...children) {
  const element = document.createElement(name);
  Object.assign(element, properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function iconOf(channel) {
  return $('icons').content.querySelector('[data-channel="' + CSS.escape(channel) + '"]')?.cloneNode(true) ?? null;
}

function hidden(textContent) {
  return make('span', { className: 'off-screen', textContent });
}

function nameOf(channel) {
  return CHANNELS[channel] ?? channel;
}

/** Of a push token the outbox hands out the end only. */
function addressOf(entry) {
  return entry.channel === 'PUSH' ? '…' + entry.address : entry.address;
}

function platformOf(entry) {
  return entry.platform ? make('span', { className: 'platform', textContent: PLATFORMS[entry.platform] ?? entry.platform }) : null;
}

const unread = new Set();

function searched() {
  const wanted = $('search').value.toLowerCase().replace(/\s+/g, '').replace(/^…/, '');
  const digits = wanted.replace(/[()./-]/g, '');
  return entries.filter(({ channel, address }) => {
    const own = address.toLowerCase();
    if (channel === 'SMS' && own.includes(digits)) return true;
    return own.includes(wanted) || (channel === 'PUSH' && own !== '' && wanted.endsWith(own));
  });
}

function chosenChannel() {
  return document.querySelector('#filter input:checked').value;
}

function matching(found = searched()) {
  const channel = chosenChannel();
  return channel === '' ? found : found.filter((entry) => entry.channel === channel);
}

function renderList() {
  const focused = document.activeElement?.dataset?.id;
  const found = searched();
  const list = matching(found);
  const rows = list.slice(0, limit).map((entry) => make('li', {}, rowOf(entry)));
  $('messages').replaceChildren(...rows, ...(list.length > limit ? [moreRows(list.length - limit)] : []));
  for (const count of document.querySelectorAll('#filter [data-count]')) {
    const channel = count.dataset.count;
    count.textContent = String(channel === '' ? found.length : found.filter((entry) => entry.channel === channel).length);
  }
  $('messages').hidden = list.length === 0;
  $('none').hidden = list.length > 0;
  $('none').textContent = nothingFound();
  $('panes').classList.toggle('nothing', entries.length === 0);
  if (focused) document.querySelector('.row[data-id="' + CSS.escape(focused) + '"]')?.focus({ preventScroll: true });
}

function moreRows(count) {
  const button = make('button', { type: 'button', className: 'quiet', textContent: 'Show more, ' + count + ' are left' });
  button.addEventListener('click', () => {
    const next = limit;
    limit += ROWS;
    renderList();
    document.querySelectorAll('.row')[next]?.focus();
  });
  return make('li', { className: 'rest' }, button);
}

/** Of another list, from its beginning. */
function renderAnew() {
  limit = ROWS;
  renderList();
  $('messages').scrollTop = 0;
}

function nothingFound() {
  const channel = chosenChannel();
  const kind = channel === '' ? 'message' : nameOf(channel).toLowerCase();
  const wanted = $('search').value.trim();
  return wanted === '' ? 'No ' + kind + ' yet.' : 'No ' + kind + ' to an address with “' + wanted + '”.';
}

function rowOf(entry) {
  const at = new Date(entry.receivedAt);
  const isToday = at.toDateString() === new Date().toDateString();
  const fresh = unread.has(entry.id) ? make('span', { className: 'fresh' }, hidden('New: ')) : null;
  const [what, preview] = linesOf(entry);
  const row = make('button', { type: 'button', className: 'row' },
    iconOf(entry.channel),
    make('span', { className: 'who' }, fresh, hidden(nameOf(entry.channel) + ' to '), make('span', { textContent: addressOf(entry) }), platformOf(entry)),
    make('time', { dateTime: entry.receivedAt, textContent: isToday ? time.format(at) : date.format(at) }),
    make('span', { className: 'what', dir: 'auto', textContent: what }),
    make('span', { className: 'preview', dir: 'auto', textContent: preview || '\u00a0' }));
  row.dataset.id = entry.id;
  if (entry.id === selected) row.setAttribute('aria-current', 'true');
  row.addEventListener('click', () => show(entry.id, true));
  return row;
}

function titleOf(entry) {
  return entry.title || nameOf(entry.channel);
}

function linesOf(entry) {
  const text = (entry.text ?? '').slice(0, 400).replace(/\s+/g, ' ').trim();
  if (entry.channel === 'SMS') return [text, segmentsOf(entry)];
  if (entry.channel === 'PUSH' && !entry.title) return [text, ''];
  const title = titleOf(entry);
  return [title, text.startsWith(title) ? text.slice(title.length).trim() : text];
}

function segmentsOf({ headers }) {
  const { Segments: segments, Encoding: encoding } = headers;
  return [segments && segments + (segments === '1' ? ' segment' : ' segments'), encoding].filter(Boolean).join(', ');
}
`;
