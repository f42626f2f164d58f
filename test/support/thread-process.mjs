/** A process that sends by threads as the service does, and prints which of the providers' libraries it loaded itself. */
import { createRequire } from 'node:module';
import '../../dist/app.js';
import { openSenderThread } from '../../dist/senders/thread.js';

const account = { projectId: 'p', accessToken: 't' };
const twilio = { accountSid: `AC${'0'.repeat(32)}`, authToken: 't', from: '+15005550006', messagingServiceSid: null };
const plans = [
  { kind: 'smtp', options: { url: 'smtp://127.0.0.1:9', from: 'a@example.com', connections: 1 } },
  { kind: 'fcm', options: { account, loopback: { host: '127.0.0.1', port: 9 }, connections: 1 } },
  { kind: 'twilio', options: { ...twilio, connections: 1 } },
];
const logger = { error: (fields, message) => console.error(message, fields) };
const opened = await Promise.all(plans.map((plan) => openSenderThread({ plan, logger })));
// The sandbox's mail server has parts of nodemailer, and receipts are checked by one file of Twilio's library.
const LIBRARIES =
  /node_modules.(firebase-admin|google-auth|twilio.lib.(?!webhooks)|nodemailer.lib.(nodemailer|mailer|smtp-pool))/;
const loaded = Object.keys(createRequire(import.meta.url).cache);
console.log(JSON.stringify(loaded.filter((path) => LIBRARIES.test(path))));
await Promise.all(opened.map(({ stop }) => stop()));
