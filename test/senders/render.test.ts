import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TemplateVariant } from '../../src/events/templates.ts';
import {
  checkVariant,
  chooseVariant,
  renderVariant,
  type Rendered,
  type TemplateField,
} from '../../src/senders/render.ts';

const FIELDS = ['title', 'body', 'html'] as const;

describe('checking a variant', () => {
  it('finds nothing wrong with a good one', () => {
    const variant = newVariant({
      title: 'Order {{ order.id }}',
      body: '{% for item in order.items %}{{ item.name | upcase }}{% else %}nothing{% endfor %}',
      html: '<p>{% if name %}{{ name | default: "you" }}{% endif %}</p>',
    });
    expect(checkVariant(variant)).toBeNull();
  });

  it.each(FIELDS)('names the part with a syntax error: %s', (field) => {
    for (const text of ['{{ name', '{% if a %}', '{% for x on y %}{% endfor %}', '{{ }}', '{{#with user}}{{/with}}']) {
      expect(checkVariant(newVariant({ [field]: text }))).toEqual({ field, message: expect.any(String) as string });
    }
  });

  it.each(FIELDS)('refuses what reads files, ends escaping or runs text as a program: %s', (field) => {
    const include = [
      '{% include "/etc/passwd" %}',
      '{% render "a" %}',
      '{% layout "a" %}',
      '{% block a %}{% endblock %}',
    ];
    const filters = [
      'raw',
      'json',
      'jsonify',
      'inspect',
      'where_exp: "i", "i"',
      'group_by_exp: "i", "i"',
      'unheard_of',
    ];
    for (const text of [...include, ...filters.map((filter) => `{{ name | ${filter} }}`)]) {
      expect(checkVariant(newVariant({ [field]: text })), text).toMatchObject({ field });
      expect(render(field, text, { name: ['x'] }), text).toMatchObject({ ok: false, field });
    }
    expect(checkVariant(newVariant({ [field]: '{% liquid include "a" %}' }))).toMatchObject({ field });
    expect(checkVariant(newVariant({ [field]: '{% if a %}{% include "a" %}{% endif %}' }))).toMatchObject({ field });
  });

  it.each(FIELDS)('refuses a part of more than 64 KiB: %s', (field) => {
    expect(checkVariant(newVariant({ [field]: 'x'.repeat(65_536) }))).toBeNull();
    expect(checkVariant(newVariant({ [field]: 'x'.repeat(65_537) }))).toMatchObject({ field });
    expect(checkVariant(newVariant({ [field]: 'é'.repeat(32_769) }))).toMatchObject({ field });
    expect(render(field, 'x'.repeat(65_537))).toMatchObject({ ok: false, field });
  });

  it.each([
    ['openings', '{{'.repeat(32_000)],
    ['tags', '{% if a %}'.repeat(6_500)],
    ['quotes', '{{ "'.repeat(16_000)],
    ['brackets', `{{ ${'a['.repeat(30_000)}}}`],
    ['parentheses', `{{ ${'('.repeat(60_000)}}}`],
  ])('answers, and does not crash, on thousands of %s', (_what, text) => {
    expect(checkVariant(newVariant({ body: text }))).toMatchObject({ field: 'body' });
  });

  it('keeps its message short', () => {
    const problem = checkVariant(newVariant({ body: `{% ${'x'.repeat(5_000)} %}` }));
    expect(problem?.message.length).toBeLessThanOrEqual(300);
  });
});

describe('choosing a variant', () => {
  const forAll = newVariant({ body: 'for all' });
  const forSms = newVariant({ channel: 'SMS', body: 'for SMS' });

  it('prefers the one for exactly the channel', () => {
    expect(chooseVariant([forAll, forSms], 'SMS')).toBe(forSms);
    expect(chooseVariant([forSms, forAll], 'SMS')).toBe(forSms);
  });

  it('falls back to the one for every channel', () => {
    expect(chooseVariant([forSms, forAll], 'EMAIL')).toBe(forAll);
  });

  it('finds none when there is neither', () => {
    expect(chooseVariant([forSms], 'EMAIL')).toBeNull();
    expect(chooseVariant([], 'SMS')).toBeNull();
  });
});

describe('rendering', () => {
  it('fills in all parts, and leaves out those that the variant does not have', () => {
    const variant = newVariant({ title: 'Hi {{ name }}', body: 'Dear {{ name }}', html: '<b>{{ name }}</b>' });
    expect(renderVariant(variant, { name: 'Zoë' })).toEqual({
      ok: true,
      title: 'Hi Zoë',
      body: 'Dear Zoë',
      html: '<b>Zoë</b>',
    });
    expect(renderVariant(newVariant({ body: 'plain' }), {})).toEqual({
      ok: true,
      title: null,
      body: 'plain',
      html: null,
    });
  });

  it('escapes in HTML and nowhere else', () => {
    const text = '{{ name }}';
    const name = `<b>&"it's"</b>`;
    expect(renderVariant(newVariant({ title: text, body: text, html: text }), { name })).toEqual({
      ok: true,
      title: name,
      body: name,
      html: '&lt;b&gt;&amp;&#34;it&#39;s&#34;&lt;/b&gt;',
    });
  });

  it.each([
    '{{ name }}',
    '{{ list }}',
    '{{ list | first }}',
    '{{ list | join: "<" }}',
    '{{ name | append: "<br>" }}',
    '{{ encoded | url_decode }}',
    '{{ base64 | base64_decode }}',
    '{{ name | escape | replace: "&lt;", "<" }}',
    '{{ name | newline_to_br }}',
    '{% echo name %}',
    '{% liquid echo name %}',
    '{% cycle name, "<i>" %}',
    '{% capture x %}{{ name }}{% endcapture %}{{ x }}',
    '{% assign x = name | append: "<script>" %}{{ x }}',
    '{% for item in list %}{{ item }}{% endfor %}',
    '{{ name | default: "<" }}',
    '{{ nothing | default: "<script>" }}',
    '{% if name %}{{ name | truncate: 3 }}{% endif %}',
    '{% increment name %}',
  ])('lets no markup out of data in HTML: %s', (template) => {
    const name = '<script>alert(1)</script>';
    const data = {
      name,
      list: [name, [name]],
      encoded: encodeURIComponent(name),
      base64: Buffer.from(name).toString('base64'),
    };
    expect(checkVariant(newVariant({ html: template }))).toBeNull();
    expect(textOf(render('html', template, data), 'html')).not.toMatch(/[<>"']/);
  });

  it('makes the title one line', () => {
    const text = 'a {{ x }} b\n';
    const title = (x: string): unknown => textOf(render('title', text, { x }), 'title');
    expect(title('1\r\nBcc: evil@example.com')).toBe('a 1 Bcc: evil@example.com b');
    expect(title('\u0000\u0007\t\u007f\u0085\u2028\u2029')).toBe('a   b');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (x) => {
        expect(title(x)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      }),
    );
  });

  it('refuses a title that is longer than a line of a mail may be', () => {
    expect(textOf(render('title', '{{ x }}', { x: 'x'.repeat(998) }), 'title')).toHaveLength(998);
    expect(render('title', '{{ x }}', { x: 'x'.repeat(999) })).toEqual({
      ok: false,
      field: 'title',
      variable: null,
      tooSlow: false,
      message: 'the title has 999 characters; at most 998',
    });
    expect(render('body', '{{ x }}', { x: 'x'.repeat(999) })).toMatchObject({ ok: true });
  });

  it('makes the same dates on every machine', () => {
    expect(textOf(render('body', '{{ at | date: "%d %B %H:%M" }}', { at: '2024-03-01T23:30:00Z' }), 'body')).toBe(
      '01 March 23:30',
    );
  });

  it('leaves the data as they are', () => {
    const data = Object.freeze({ user: Object.freeze({ name: 'Ada' }) });
    const variant = newVariant({ title: '{% increment user %}{% decrement n %}', body: '{{ user.name }}' });
    expect(renderVariant(variant, data)).toMatchObject({ ok: true, title: '0-1', body: 'Ada' });
  });

  it('writes the same each time, however many other templates come between', () => {
    const own = newVariant({ body: '{% assign n = n | plus: 1 %}{% cycle "a", "b" %}{{ n }}{% increment c %}' });
    const first = renderVariant(own, { n: 1 });
    for (let other = 0; other < 1_200; other++) {
      expect(render('body', `${String(other)}{{ n }}`, { n: 1 })).toMatchObject({
        ok: true,
        body: `${String(other)}1`,
      });
    }
    expect(renderVariant(own, { n: 1 })).toEqual(first);
    expect(first).toMatchObject({ ok: true, body: 'a20' });
  });

  it('holds text and HTML of the same template apart', () => {
    const variant = newVariant({ body: 'same {{ x }}', html: 'same {{ x }}' });
    expect(renderVariant(variant, { x: '<' })).toMatchObject({ body: 'same <', html: 'same &lt;' });
  });
});

describe('missing variables', () => {
  it.each([
    ['{{ name }}', 'name'],
    ['{{ user.name }}', 'user.name'],
    ['{{ nobody.address.city }}', 'nobody.address.city'],
    ['{{ user["name"] }}', 'user["name"]'],
    ['{{ items[5] }}', 'items[5]'],
    ['{{ items[0].name }}', 'items[0].name'],
    ['{{ user.mail | append: user.name }}', 'user.name'],
    ['{{ nothing }}', 'nothing'],
    ['{{ nothing.at.all }}', 'nothing.at.all'],
    ['{% for x in missing %}{% endfor %}', 'missing'],
    ['{% for x in items %}{{ x.name }}{% endfor %}', 'x.name'],
    ['{% assign x = user.name %}{{ x }}', 'x'],
    ['{% if user.mail %}{{ user.name }}{% endif %}', 'user.name'],
    ['{{ user.name | default: user.nick }}', 'user.nick'],
  ])('are an error with their name: %s', (template, variable) => {
    const data = { user: { mail: 'ada@example.com' }, items: [{ id: 1 }], nothing: null };
    for (const field of FIELDS) {
      const message = `undefined variable: ${variable}`;
      expect(render(field, template, data)).toEqual({ ok: false, field, variable, tooSlow: false, message });
    }
  });

  it('may be asked for', () => {
    const template =
      '{% if a.b %}1{% else %}2{% endif %}{% unless c %}3{% endunless %}{{ d | default: 4 }}{% case e %}{% when 1 %}{% else %}5{% endcase %}';
    expect(render('body', template)).toMatchObject({ ok: true, body: '2345' });
  });

  it('do not give away what a computed key came to', () => {
    const rendered = render('body', '{{ orders[mail] }}', { orders: {}, mail: 'ada@example.com' });
    expect(rendered).toMatchObject({ ok: false, variable: 'orders[mail]' });
    expect(JSON.stringify(rendered)).not.toContain('ada@');
  });
});

describe('attacks', () => {
  it.each([
    '{{ constructor }}',
    '{{ __proto__ }}',
    '{{ toString }}',
    '{{ hasOwnProperty }}',
    '{{ user.constructor }}',
    '{{ user.__proto__.polluted }}',
    '{{ user["constructor"]["prototype"] }}',
    '{{ user[key] }}',
    '{{ list.constructor }}',
    '{{ list.push }}',
    '{{ "x".constructor }}',
    '{{ user.name.constructor }}',
    '{% for i in list %}{{ forloop.constructor }}{% endfor %}',
    '{% for i in list %}{{ forloop.__proto__.constructor }}{% endfor %}',
    '{% for i in list %}{{ forloop.__defineGetter__ }}{% endfor %}',
    '{{ user }}',
    '{{ odd }}',
  ])('find nothing behind the data: %s', (template) => {
    const odd: unknown = JSON.parse('{"toString": "x", "valueOf": 1, "then": 2, "next": 3}');
    const data = { user: { name: 'Ada' }, list: [1, 2], key: 'constructor', odd };
    for (const field of FIELDS) expect(render(field, template, data), template).toMatchObject({ ok: false, field });
  });

  it.each([
    '{{constructor.constructor("return process")()}}',
    '{{#with "s" as |string|}}{{/with}}',
    '{{ a.b() }}',
    '{{ `x` }}',
  ])('in the languages of other engines are syntax errors or text: %s', (template) => {
    expect(checkVariant(newVariant({ body: template }))).toMatchObject({ field: 'body' });
  });

  it('change nothing outside: __proto__ is a name like any other', () => {
    const before = Object.getOwnPropertyDescriptors(Object.prototype);
    const template =
      '{% assign __proto__ = user %}{% assign constructor = 1 %}{% capture toString %}x{% endcapture %}{% increment __proto__ %}' +
      '{% for __proto__ in list %}{% endfor %}{% cycle "__proto__": 1, 2 %}';
    const data = JSON.parse(
      '{"__proto__": {"polluted": 1}, "user": {"polluted": 1}, "list": [{"polluted": 1}]}',
    ) as Record<string, unknown>;
    for (const field of FIELDS) expect(render(field, template, data)).toMatchObject({ ok: true });
    expect(Object.getOwnPropertyDescriptors(Object.prototype)).toEqual(before);
  });

  it.each([
    ['a range of a hundred million', '{% for i in (1..100000000) %}{% endfor %}'],
    ['nested loops', '{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}'],
    [
      'nested loops that write nothing',
      '{% for a in list %}{% for b in list %}{% for c in list %}{% endfor %}{% endfor %}{% endfor %}',
    ],
    [
      'text that doubles',
      '{% assign x = big %}{% for i in (1..60) %}{% assign x = x | append: x %}{% endfor %}{{ x }}',
    ],
    [
      'captures that double',
      '{% capture x %}a{% endcapture %}{% for i in (1..60) %}{% capture x %}{{ x }}{{ x }}{% endcapture %}{% endfor %}',
    ],
    [
      'lists that double',
      '{% assign x = list %}{% for i in (1..60) %}{% assign x = x | concat: x %}{% endfor %}{{ x }}',
    ],
    [
      'lists within lists',
      '{% assign x = list | slice: 0, 0 %}{% for i in (1..60) %}{% assign x = x | push: x %}{% endfor %}{{ x | upcase }}',
    ],
    [
      'long lists of long texts',
      '{% assign x = big | split: "!" %}{% for i in (1..14) %}{% assign x = x | concat: x %}{% endfor %}{{ x | upcase }}',
    ],
    ['filters that lengthen', `{{ big ${'| url_encode '.repeat(4_000)}}}`],
    ['loops around tags that do nothing', '{% for i in (1..24000) %}{% if false %}{% endif %}{% endfor %}x'],
    ['searches of a long list', '{% for i in list %}{% if list contains "zz" %}a{% endif %}{% endfor %}'],
    ['comparisons of long lists', `{% if ${'list == list and '.repeat(1_000)} true %}{% endif %}`],
    ['fields of elements with a long name', '{{ list | map: path | size }}'],
    ['a long text looked for in a long text', '{% if long contains pattern %}{% endif %}'],
    ['a long text replaced in a long text', '{{ long | replace: pattern, "" | size }}'],
    ['a long text looked for from the end', '{{ long | remove_last: ending | size }}'],
    ['a long format of a date', '{{ "now" | date: format | size }}'],
    ['a date of a hundred million digits', '{{ "now" | date: "%99999999Y" }}'],
    ['ten megabytes', `{% for i in (1..1000) %}${'x'.repeat(10_000)}{% endfor %}`],
    ['just over 256 KiB', `{% for i in (1..27) %}${'x'.repeat(10_000)}{% endfor %}`],
  ])('that ask for too much are cut off: %s', (_what, template) => {
    const data = {
      big: '%<>'.repeat(2_000),
      list: Array.from({ length: 9_000 }, (_, at) => at),
      path: 'a.'.repeat(50_000),
      long: 'a'.repeat(120_000),
      pattern: `${'a'.repeat(10)}b${'a'.repeat(20_000)}`,
      ending: `${'a'.repeat(20_000)}b`,
      format: '%c'.repeat(60_000),
    };
    expect(checkVariant(newVariant({ body: template }))).toBeNull();
    for (const field of FIELDS) {
      // Not by the clock, which may stop the same template at one time and not at another.
      const message = expect.stringMatching(/memory alloc limit exceeded|over 262144 bytes/) as string;
      const rendered = patiently(() => render(field, template, data));
      expect(rendered).toEqual({ ok: false, field, variable: null, tooSlow: false, message });
    }
  });

  it('do not compare lists in a case, which nothing would count', () => {
    const message = expect.stringContaining('not on a list') as string;
    const template = '{% case list %}{% when list %}{% endcase %}';
    expect(render('body', template, { list: [1] })).toMatchObject({ ok: false, tooSlow: false, message });
  });

  it('leave an order of 500 rows with 10 fields to be written', () => {
    const row = Array.from({ length: 10 }, (_, at) => `<td>{{ item.field${String(at)} | upcase }}</td>`).join('');
    const values = Array.from({ length: 10 }, (_, at) => [`field${String(at)}`, `some value of field ${String(at)}`]);
    const items = Array.from({ length: 500 }, () => Object.fromEntries(values) as unknown);
    const variant = newVariant({ html: `<table>{% for item in items %}<tr>${row}</tr>{% endfor %}</table>` });
    const rendered = patiently(() => renderVariant(variant, { items }));
    expect(textOf(rendered, 'html').match(/<td>/g)).toHaveLength(5_000);
  });

  it('do not keep an honest long message from being written', () => {
    const items = Array.from({ length: 1_000 }, (_, at) => ({
      name: `Item ${String(at)} <new>`,
      price: at,
      tags: ['a', 'b'],
    }));
    const row =
      '<tr><td>{{ forloop.index }}</td><td>{{ item.name | upcase }}</td><td>{{ item.price | times: 1.19 | round: 2 }}</td>' +
      '<td>{% if item.price > 10 %}{{ item.tags | join: ", " }}{% else %}-{% endif %}</td></tr>';
    const template = `<table>{% for item in items %}${row}{% endfor %}</table>`;
    const rendered = patiently(() => render('html', template, { items }));
    expect(rendered).toMatchObject({ ok: true });
    expect(textOf(rendered, 'html').match(/<tr>/g)).toHaveLength(1_000);
  });
});

describe('a render that the clock stops', () => {
  /** The process stands still for a moment each time the data are read. */
  const held = {
    get name(): string {
      const until = performance.now() + 110;
      while (performance.now() < until);
      return 'Ada';
    },
  };

  it('says so, and is not tried again here', () => {
    const rendered = render('body', '{{ user.name }}{{ user.name }}', { user: held });
    expect(rendered).toMatchObject({ ok: false, field: 'body', variable: null, tooSlow: true });
  });

  it('has one time limit for all its parts', () => {
    const variant = newVariant({ title: '{{ user.name }}', body: 'text' });
    expect(renderVariant(variant, { user: held })).toMatchObject({ ok: false, field: 'body', tooSlow: true });
  });
});

describe('whatever the data', () => {
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '<',
      '</p>',
      '<script>',
      '&lt;',
      '{{ a }}',
      '{% include "a" %}',
      '%3Cb%3E',
      '"><img src=x onerror=alert(1)>',
    ),
    fc.mixedCase(fc.constant('<script>')),
  );
  const data = fc.record({ a: value, b: fc.array(value, { minLength: 1 }), c: fc.record({ d: value }) });

  it('HTML has no tag that is not in the template', () => {
    const template =
      '<p title="{{ a }}">{{ c.d }}</p>{% for x in b %}<i>{{ x }}{{ x | upcase | prepend: a }}</i>{% endfor %}' +
      '{% capture z %}{{ a }}{% endcapture %}{{ z }}{{ b | join: a }}{% cycle a, c.d %}{% echo b %}{{ a | strip_html | strip | slice: 0, 5 }}';
    fc.assert(
      fc.property(data, (values) => {
        const html = textOf(render('html', template, values), 'html');
        const empty = textOf(render('html', template, { a: '', b: values.b.map(() => ''), c: { d: '' } }), 'html');
        for (const mark of ['<', '>', '"', "'"]) expect(html.split(mark)).toHaveLength(empty.split(mark).length);
      }),
      { numRuns: 300 },
    );
  });

  it('it is written and never run as a template', () => {
    fc.assert(
      fc.property(data, ({ a, b, c }) => {
        const rendered = render('body', '{{ a }}|{{ b }}|{{ c.d }}', { a, b, c });
        expect(rendered).toMatchObject({ ok: true, body: `${a}|${b.join('')}|${c.d}` });
      }),
    );
  });

  it('rendering answers and does not throw', () => {
    const template =
      '{{ a }}{{ a.b }}{{ a[0] | size }}{% for x in a %}{{ x }}{% endfor %}{{ a | first | date: "%Y" | plus: 1 }}';
    fc.assert(
      fc.property(fc.jsonValue(), (a) => {
        const rendered = renderVariant(newVariant({ title: template, body: template, html: template }), { a });
        expect(typeof rendered.ok).toBe('boolean');
      }),
    );
  });
});

function newVariant(parts: Partial<TemplateVariant>): TemplateVariant {
  return { channel: null, locale: null, title: null, body: '', html: null, ...parts };
}

function render(field: TemplateField, template: string, data: Readonly<Record<string, unknown>> = {}): Rendered {
  return renderVariant(newVariant({ [field]: template }), data);
}

function textOf(rendered: Rendered, field: TemplateField): string {
  if (!rendered.ok) throw new Error(rendered.message);
  return rendered[field] ?? '';
}

/** On a busy machine the clock may stop what would have been well in time. */
function patiently(render: () => Rendered, tries = 20): Rendered {
  const rendered = render();
  return !rendered.ok && rendered.tooSlow && tries > 1 ? patiently(render, tries - 1) : rendered;
}
