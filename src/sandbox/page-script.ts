/**
 * Runs in the browser as it stands: no build, no dependency. Whatever comes from messages goes into the page as text
 * (`textContent`); only the HTML of an e-mail is markup, in a frame of its own that runs no script and loads nothing.
 */
export const PAGE_SCRIPT = String.raw`
const STORE = 'heliograph-sandbox-credentials';
const EVERY_MS = 2000;

let credentials = null;
let known = null;
let timer = null;
let polling = null;

function fromFragment() {
  const at = location.hash.indexOf(':');
  if (at < 2) return null;
  try {
    const [key, secret] = [location.hash.slice(1, at), location.hash.slice(at + 1)].map(decodeURIComponent);
    return { key, secret };
  } catch {
    return null;
  } finally {
    history.replaceState(null, '', location.pathname + location.search);
  }
}

function fromStore() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? 'null');
  } catch {
    return null;
  }
}

function authorization({ key, secret }) {
  const bytes = new TextEncoder().encode(key + ':' + secret);
  return 'Basic ' + btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

function signIn(next) {
  credentials = next;
  known = null;
  $('wrong').hidden = true;
  return poll();
}

function signOut(reason) {
  sessionStorage.removeItem(STORE);
  credentials = null;
  entries = [];
  selected = null;
  clearTimeout(timer);
  polling?.abort();
  $('app').hidden = true;
  $('door').hidden = false;
  $('wrong').textContent = reason ?? '';
  $('wrong').hidden = !reason;
  $('secret').value = '';
  $($('key').value && reason ? 'secret' : 'key').focus();
}

async function poll() {
  clearTimeout(timer);
  polling?.abort();
  if (!credentials || document.hidden) return;
  polling = new AbortController();
  const { signal } = polling;
  const late = setTimeout(() => polling?.abort('late'), 10000);
  try {
    const headers = { authorization: authorization(credentials), accept: 'application/json' };
    const response = await fetch('/sandbox/outbox', { headers, signal, credentials: 'omit' });
    if (response.status === 401) return signOut('These credentials are not accepted. Check the app key and the secret.');
    if (response.status === 403) return signOut('This client may not look into the sandbox: it lacks the scope OPERATE.');
    if (!response.ok) throw new Error('status ' + response.status);
    arrived(await response.json());
  } catch (error) {
    if (signal.aborted && signal.reason !== 'late') return;
    unreachable();
  } finally {
    clearTimeout(late);
  }
  if (credentials) timer = setTimeout(poll, EVERY_MS);
}

function unreachable() {
  if ($('app').hidden) {
    $('wrong').textContent = 'The server does not answer. Trying again …';
    $('wrong').hidden = false;
  }
  $('state').textContent = 'Server does not answer, trying again';
  $('state').classList.add('broken');
}

function arrived(next) {
  sessionStorage.setItem(STORE, JSON.stringify(credentials));
  $('door').hidden = true;
  $('app').hidden = false;
  $('state').textContent = 'Live';
  $('state').classList.remove('broken');
  const same = known && next.length === entries.length && next[0]?.id === entries[0]?.id;
  if (same) return;
  const fresh = known ? next.filter((entry) => !known.has(entry.id)) : [];
  known = new Set(next.map((entry) => entry.id));
  for (const entry of fresh) unread.add(entry.id);
  if (fresh.length > 0) $('news').textContent = newsOf(fresh);
  entries = next;
  renderList();
  if (selected === null || !known.has(selected)) show(matching()[0]?.id ?? null, false);
}

function newsOf([first, ...others]) {
  return others.length > 0 ? others.length + 1 + ' new messages' : 'New ' + nameOf(first.channel).toLowerCase() + ' to ' + addressOf(first);
}

function onArrows(container, keys, items) {
  container.addEventListener('keydown', (event) => {
    const step = event.key === keys[0] ? -1 : event.key === keys[1] ? 1 : 0;
    const all = items();
    const at = all.indexOf(document.activeElement);
    if (step === 0 || at < 0) return;
    event.preventDefault();
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    next.focus();
    if (next.getAttribute('role') === 'tab') next.click();
  });
}

onArrows($('messages'), ['ArrowUp', 'ArrowDown'], () => Array.from(document.querySelectorAll('.row')));
onArrows($('tabs'), ['ArrowLeft', 'ArrowRight'], () => Array.from($('tabs').children));
$('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  signIn({ key: $('key').value.trim(), secret: $('secret').value.trim() });
});
$('sign-out').addEventListener('click', () => signOut());
$('search').addEventListener('input', renderAnew);
$('filter').addEventListener('change', renderAnew);
$('back').addEventListener('click', () => {
  $('panes').classList.remove('reading');
  document.querySelector('.row[aria-current]')?.focus();
});
for (const id of ['help', 'more-help']) $(id).addEventListener('click', () => $('help-box').showModal());
$('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText($('example').textContent);
  $('copy').textContent = 'Copied';
});
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.target.closest('input:not([type=radio]), dialog') || $('app').hidden) return;
  event.preventDefault();
  $('search').focus();
});
document.addEventListener('visibilitychange', () => poll());
window.addEventListener('hashchange', () => {
  const next = fromFragment();
  if (next) signIn(next);
});

credentials = fromFragment() ?? fromStore();
if (credentials) poll();
else signOut();
`;
