/**
 * About how many bytes a value has as JSON.
 * @throws TypeError for what JSON has no form for, or would give back as something else.
 */
export function jsonSize(value: unknown): number {
  if (typeof value === 'string') return value.length + 2;
  if (typeof value === 'boolean' || value === null) return 5;
  if (typeof value === 'number' && Number.isFinite(value)) return 8;
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + jsonSize(each) + 1, 2);
  if (typeof value === 'object' && isPlain(value)) return objectSize(value);
  throw new TypeError('a value that is not JSON');
}

/** What is undefined JSON leaves out. */
function objectSize(value: object): number {
  let size = 2;
  for (const [name, each] of Object.entries(value)) if (each !== undefined) size += name.length + 4 + jsonSize(each);
  return size;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
