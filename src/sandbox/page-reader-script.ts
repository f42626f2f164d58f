/** The reader of the page, run after `PAGE_VIEW_SCRIPT` and under the same rules. */
export const PAGE_READER_SCRIPT = String.raw`
const FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:";
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const short = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

let tab = null;

function show(id, byHand) {
  const entry = entries.find((candidate) => candidate.id === id) ?? null;
  selected = entry?.id ?? null;
  unread.delete(selected);
  tab = null;
  for (const row of document.querySelectorAll('.row')) {
    if (row.dataset.id === selected) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
    if (row.dataset.id === selected) row.querySelector('.fresh')?.remove();
  }
  $('empty').hidden = entries.length > 0;
  $('article').hidden = entry === null;
  if (entry === null) return;
  if (byHand) $('panes').classList.add('reading');
  if (byHand && $('back').offsetParent !== null) $('title').focus();
  renderHead(entry);
  renderTabs(entry);
  $('article').parentElement.scrollTop = 0;
}

function renderHead(entry) {
  const isMail = entry.channel === 'EMAIL';
  const words = make('span', { dir: 'auto', textContent: isMail ? titleOf(entry) : nameOf(entry.channel) });
  $('title').replaceChildren(...[iconOf(entry.channel), isMail ? hidden('E-mail: ') : null, words, platformOf(entry)].filter(Boolean));
  $('facts').replaceChildren(...factsOf(entry).flatMap(([name, value]) => [make('dt', { textContent: name }), make('dd', {}, value)]));
}

function factsOf(entry) {
  const { headers } = entry;
  const facts = [['To', entry.channel === 'PUSH' ? tokenOf(entry) : entry.address]];
  if (entry.channel === 'SMS' && headers.From) facts.push(['From', headers.From]);
  facts.push(['Received', full.format(new Date(entry.receivedAt))]);
  const notification = headers['X-Heliograph-Notification'] ?? headers['data.notificationId'];
  if (notification) facts.push(['Notification', notification]);
  return facts;
}

function tokenOf(entry) {
  const note = make('span', { className: 'muted', textContent: ' – the end of the token, no more of it is ever shown' });
  return make('span', {}, addressOf(entry), note);
}

function tabsOf(entry) {
  if (entry.channel === 'SMS') return [['Text message', smsPanel]];
  if (entry.channel === 'PUSH') return [['Push notification', pushPanel]];
  const tabs = [];
  if (entry.html !== null) tabs.push(['Message', htmlPanel]);
  tabs.push([entry.html === null ? 'Message' : 'Plain text', textPanel]);
  if (Object.keys(entry.headers).length > 0) tabs.push(['Headers', ({ headers }) => [tableOf(headers)]]);
  return tabs;
}

/** A single view needs no tabs. */
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
  const isTabbed = tabs.length > 1;
  $('tabs').hidden = !isTabbed;
  $('tabs').replaceChildren(...buttons);
  $('panel').setAttribute('role', isTabbed ? 'tabpanel' : 'group');
  $('panel').setAttribute('aria-labelledby', isTabbed ? 'tab-' + tabs.indexOf(chosen) : 'title');
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
  return [make('pre', { className: 'paper', dir: 'auto', textContent: entry.text ?? 'This message has no plain text.' })];
}

function smsPanel(entry) {
  const { From, Segments, Encoding, ...others } = entry.headers;
  const stage = make('div', { className: 'stage' },
    From ? make('p', { className: 'sender', textContent: From }) : null,
    make('p', { className: 'bubble', dir: 'auto', textContent: entry.text ?? '' }),
    make('p', { className: 'stamp', textContent: short.format(new Date(entry.receivedAt)) }));
  return [stage, ...billing(entry), ...optionsTable('Details', others)];
}

/** What a text message is billed by. */
function billing(entry) {
  const { Segments, Encoding } = entry.headers;
  if (!Segments) return [];
  const bars = make('span', { className: 'bars' }, ...Array.from({ length: Math.min(Number(Segments) || 0, 32) }, () => make('i', {})));
  bars.setAttribute('aria-hidden', 'true');
  const length = lengthIn(Encoding, entry.text ?? '');
  const figures = segmentsOf(entry) + ', ' + length + (length === 1 ? ' character' : ' characters');
  const rule = RULES[Encoding];
  return [
    make('p', { className: 'billing' }, bars, make('span', { textContent: figures })),
    ...(rule ? [make('p', { className: 'note', textContent: rule })] : []),
  ];
}

const RULES = {
  'GSM-7': 'In GSM-7 one segment holds 160 characters, and each of several 153.',
  'UCS-2': 'One character outside GSM-7, such as an emoji, makes the whole message UCS-2: one segment holds 70, and each of several 67.',
};

/** As the encoding counts: in GSM-7 some characters take two places, in UCS-2 an emoji takes two or more. */
function lengthIn(encoding, text) {
  return encoding === 'GSM-7' ? text.length + (text.match(/[\f^{}\\[~\]|€]/g) ?? []).length : text.length;
}

function pushPanel(entry) {
  const link = LINKS.map((name) => entry.headers[name]).find(Boolean);
  const card = make('div', { className: 'card' },
    make('p', { className: 'card-head' }, iconOf('PUSH'), make('span', { textContent: entry.platform === 'WEB' ? 'Your site' : 'Your app' }),
      make('time', { dateTime: entry.receivedAt, textContent: short.format(new Date(entry.receivedAt)) })),
    entry.title ? make('p', { className: 'card-title', dir: 'auto', textContent: entry.title }) : null,
    make('p', { className: 'card-body', dir: 'auto', textContent: entry.text ?? '' }),
    link ? make('p', { className: 'card-link' }, hidden('Opens '), linkTo(link)) : null);
  return [make('div', { className: 'stage' }, card), ...optionsTable('Options that came with it', entry.headers)];
}

const LINKS = ['link', 'data.url'];

/** Only what leads to a page is followed from here; a link into an app is shown. */
function linkTo(target) {
  if (!/^https?:\/\//i.test(target)) return make('span', { textContent: target });
  return make('a', { href: target, target: '_blank', rel: 'noopener noreferrer', textContent: target });
}

function optionsTable(name, options) {
  return Object.keys(options).length === 0 ? [] : [make('h3', { textContent: name }), tableOf(options)];
}

function tableOf(options) {
  const rows = Object.entries(options).map(([name, value]) =>
    make('tr', {}, make('th', { scope: 'row', textContent: name }), make('td', { dir: 'auto', textContent: value })));
  return make('table', { className: 'headers' }, make('tbody', {}, ...rows));
}
`;
