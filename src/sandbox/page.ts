import { escapeHtml, EXAMPLE, TEST_RECIPIENTS } from './page-help.ts';
import { PAGE_READER_SCRIPT } from './page-reader-script.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';
import { PAGE_VIEW_SCRIPT } from './page-view-script.ts';

/**
 * The page of the sandbox: asks for an app key and its secret (or takes them from `#key:secret`, percent-encoded), then
 * shows what `GET /sandbox/outbox` lists. Self-contained; serve it with {@link sandboxPagePolicy} and the same nonce.
 */
export function renderSandboxPage(nonce: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Sandbox – Heliograph</title>
<link rel="icon" href="data:,">
<style nonce="${checked(nonce)}">${PAGE_STYLE}</style>
</head>
<body>
${DOOR}
${APP}
${ICONS}
<script nonce="${checked(nonce)}">${PAGE_VIEW_SCRIPT}${PAGE_READER_SCRIPT}${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

/**
 * Content-Security-Policy for the page. Inline styles are allowed on purpose: the frame that shows the HTML of an e-mail
 * inherits this policy, and e-mail is styled inline. Scripts need the nonce, which no e-mail can know.
 */
export function sandboxPagePolicy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${checked(nonce)}'`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    'font-src data:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function checked(nonce: string): string {
  if (!/^[\w+/-]+=*$/.test(nonce)) throw new Error('A nonce must be base64');
  return nonce;
}

const BRAND = `<svg width="26" height="26" viewBox="0 0 26 26" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" aria-hidden="true"><circle cx="10" cy="16" r="6" fill="currentColor" stroke="none"/><path d="M16.5 9.5 23 3M12 6V2.5M19.5 14H23"/></svg>`;

const LENS = `<svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" aria-hidden="true"><circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/></svg>`;

function icon(channel: string, paths: string): string {
  return `<svg data-channel="${channel}" class="icon" width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${paths}</svg>`;
}

const ICONS = `<template id="icons">
${icon('EMAIL', '<rect x="1.7" y="3.2" width="12.6" height="9.6" rx="1.8"/><path d="m2.3 4.5 5.7 4.3 5.7-4.3"/>')}
${icon('SMS', '<path d="M4 2.7h8A2.2 2.2 0 0 1 14.2 4.9v4A2.2 2.2 0 0 1 12 11.1H7.3L4.2 13.7v-2.6H4a2.2 2.2 0 0 1-2.2-2.2v-4A2.2 2.2 0 0 1 4 2.7zM5 5.8h6M5 8.2h3.6"/>')}
${icon('PUSH', '<path d="M3 11.5h10c-1-1-1.5-2.1-1.5-4.4a3.5 3.5 0 0 0-7 0c0 2.3-.5 3.4-1.5 4.4zM6.6 13.6a1.5 1.5 0 0 0 2.8 0M8 2.1v1.5"/>')}
</template>`;

const CHOICES = [
  ['', 'All'],
  ['EMAIL', 'E-mail'],
  ['SMS', 'SMS'],
  ['PUSH', 'Push'],
] as const;

const FILTER = `<fieldset class="filter" id="filter"><legend class="off-screen">Show which channel</legend>
${CHOICES.map(
  ([channel, name], index) =>
    `<label><input class="off-screen" type="radio" name="channel" value="${channel}"${index === 0 ? ' checked' : ''}><span>${name} <b data-count="${channel}">0</b></span></label>`,
).join('\n')}
</fieldset>`;

const DOOR = `<main class="door" id="door" hidden>
<form id="sign-in">
<h1 class="brand">${BRAND}Heliograph <span>sandbox</span></h1>
<p>Everything your services sent lands here and goes nowhere else.</p>
<label for="key">App key</label>
<input id="key" required autocomplete="username" spellcheck="false" autocapitalize="none">
<label for="secret">App secret</label>
<input id="secret" type="password" required autocomplete="current-password">
<p class="wrong" id="wrong" role="alert" hidden></p>
<button class="primary">Open the outbox</button>
</form>
</main>`;

const APP = `<div id="app" hidden style="display:contents">
<header class="top">
<h1 class="brand">${BRAND}Heliograph <span>sandbox</span></h1>
<div class="search">${LENS}<label class="off-screen" for="search">Search by address, number or token</label>
<input id="search" type="search" placeholder="Address, number or token" autocomplete="off" spellcheck="false"></div>
<span class="state" id="state">Live</span>
<button class="quiet" id="help" type="button">Test recipients</button>
<button class="quiet" id="sign-out" type="button">Sign out</button>
</header>
<main class="panes" id="panes">
<section class="list" aria-label="Messages">
${FILTER}
<ol id="messages"></ol>
<p class="none" id="none" hidden></p>
</section>
<section class="reader" aria-label="Message">
<button class="quiet back" id="back" type="button">← All messages</button>
<article id="article" hidden>
<h2 id="title" tabindex="-1"></h2>
<dl class="facts" id="facts"></dl>
<div class="tabs" id="tabs" role="tablist" aria-label="Views of the message"></div>
<div class="panel" id="panel" role="tabpanel" tabindex="0"></div>
</article>
<div class="empty" id="empty" hidden>
<h2>Nothing has been sent yet</h2>
<p class="muted">Post this to <code>/graphql</code> with the same app key and secret. The messages appear here a moment later.</p>
<div class="example"><div><span>GraphQL</span><button class="quiet" id="copy" type="button">Copy</button></div>
<pre><code id="example">${escapeHtml(EXAMPLE)}</code></pre></div>
<p class="more muted">Some addresses, numbers and tokens misbehave on purpose: <button class="plain" id="more-help" type="button">see them all</button>.</p>
</div>
</section>
</main>
<p class="off-screen" id="news" role="status"></p>
<dialog id="help-box" aria-labelledby="help-title">
<h2 id="help-title">Test recipients</h2>
<p class="muted">These make the sandbox behave as the real providers do on a bad day.</p>
${TEST_RECIPIENTS}
<form method="dialog"><button class="primary">Close</button></form>
</dialog>
</div>`;
