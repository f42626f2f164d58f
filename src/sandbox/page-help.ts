import { SANDBOX_TOKENS } from './fcm.ts';
import { SANDBOX_RECIPIENTS } from './smtp.ts';
import { SANDBOX_NUMBERS } from './twilio.ts';

/** What a newcomer needs to know: a first request to try, and who misbehaves on purpose. */

export function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? '');
}

/** Reaches Anna on every channel there is. */
export const EXAMPLE = `mutation {
  registerUser(input: {
    id: "anna"
    email: "anna@example.com"
    phone: "+12025550123"
  }) { id }
  registerDevice(input: {
    userId: "anna"
    platform: IOS
    token: "token-of-annas-iphone"
  }) { id }
  requestNotification(input: {
    userId: "anna"
    content: {
      title: "Your parcel is on its way"
      body: "Hello Anna, it arrives tomorrow before noon."
      url: "https://shop.example/orders/1042"
    }
  }) { notification { id } }
}`;

interface TestRecipient {
  readonly name: string;
  readonly description: string;
}

export const TEST_RECIPIENTS = [
  section(
    'E-mail addresses',
    'The part before the @ decides, at any domain, also with a suffix as in <code>busy+7@example.com</code>.',
    SANDBOX_RECIPIENTS.map(({ name, description }) => ({ name: `${name}@example.com`, description })),
  ),
  section('Phone numbers', 'Exactly these; every other number gets its message at once.', SANDBOX_NUMBERS),
  section(
    'Push tokens',
    'The name alone or with a suffix, as in <code>flaky-7</code>, on any platform.',
    SANDBOX_TOKENS,
  ),
].join('\n');

function section(title: string, hint: string, recipients: readonly TestRecipient[]): string {
  const rows = recipients.map(
    ({ name, description }) =>
      `<tr><th scope="row"><code>${escapeHtml(name)}</code></th><td>${escapeHtml(description)}</td></tr>`,
  );
  return `<h3>${title}</h3>
<p class="muted">${hint}</p>
<table class="recipients"><tbody>
${rows.join('\n')}
</tbody></table>`;
}
