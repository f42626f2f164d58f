const LONGEST_ADDRESS = 254;
const LONGEST_LOCAL_PART = 64;
const LONGEST_DOMAIN = 253;

const LOCAL_PART = /^[\w!#$%&'*+\-/=?^`{|}~]+(?:\.[\w!#$%&'*+\-/=?^`{|}~]+)*$/;
const LABEL = /^[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/i;
/** What IPv4 parsers take for a number, and so a whole domain for an IP address (WHATWG URL, "ends in a number"). */
const NUMBER = /^(?:\d+|0x[\da-f]*)$/i;
const INTERNATIONAL_DOMAIN = /^[\p{L}\p{M}\p{N}.-]+$/u;

/**
 * Whether `text` is exactly one plain e-mail address (RFC 5321 §4.1.2, the dot-string form): no display name, no quoted
 * or non-ASCII local part, no address literal, at most 64 characters before the @ and 254 in all (RFC 5321 §4.5.3.1,
 * measured as sent). The domain may be international. What is accepted means the same one mailbox to every parser.
 */
export function isEmailAddress(text: string): boolean {
  const at = text.indexOf('@');
  const localPart = text.slice(0, Math.max(at, 0));
  const domain = asciiDomain(text.slice(at + 1));
  if (domain === null) return false;
  return (
    LOCAL_PART.test(localPart) &&
    localPart.length <= LONGEST_LOCAL_PART &&
    localPart.length + 1 + domain.length <= LONGEST_ADDRESS &&
    isDomain(domain)
  );
}

function isDomain(domain: string): boolean {
  const labels = domain.split('.');
  return (
    domain.length <= LONGEST_DOMAIN &&
    labels.every((label) => LABEL.test(label)) &&
    !labels.slice(-1).some((label) => NUMBER.test(label))
  );
}

/** The domain as it goes over the wire, or null when it has no such form. */
function asciiDomain(domain: string): string | null {
  if (isAscii(domain)) return domain;
  // Compatibility characters turn into others on the way (a full-width letter, a ligature): two spellings, one mailbox.
  if (domain.length > LONGEST_DOMAIN || !INTERNATIONAL_DOMAIN.test(domain) || domain.normalize('NFKC') !== domain) {
    return null;
  }
  const url = `http://${domain}`;
  return URL.canParse(url) ? new URL(url).hostname : null;
}

function isAscii(text: string): boolean {
  return !/[^\p{ASCII}]/u.test(text);
}
