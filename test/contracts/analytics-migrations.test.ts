import { describe, expect, it } from 'vitest';
import { readMigrations, toMigration } from '../../src/ports/analytics/migrations.ts';

describe('a migration', () => {
  it('is cut at the semicolons that end a line, without comments', () => {
    const text =
      "-- First; a table.\nCREATE TABLE a\n(\n    -- of letters;\n    b String\n);\n\nSELECT ';'; \nSELECT 2 -- no end;\nAS c";
    const { statements } = toMigration('0001-a.sql', text);
    expect(statements).toEqual(['CREATE TABLE a\n(\n    b String\n)', "SELECT ';'", 'SELECT 2 -- no end', 'AS c']);
  });

  it('keeps its checksum when only comments, line ends and space around statements change', () => {
    const before = toMigration('0001-a.sql', 'SELECT 1;\nSELECT 2;\n');
    const after = toMigration('0001-a.sql', '-- New comment\r\n\r\nSELECT 1;\r\n\r\nSELECT 2;');
    expect(after).toEqual(before);
    expect(toMigration('0001-a.sql', 'SELECT 1;\nSELECT 3;\n').checksum).not.toBe(before.checksum);
  });

  it('is read for every file of the schema, in the order of the names, and each statement may be run again', async () => {
    const migrations = await readMigrations();
    expect(migrations.map(({ name }) => name)).toEqual(migrations.map(({ name }) => name).toSorted());
    expect(migrations[0]?.name).toBe('0001-deliveries.sql');
    for (const statement of migrations.flatMap(({ statements }) => statements)) {
      expect(statement).toMatch(
        /^(CREATE (TABLE|MATERIALIZED VIEW)|ALTER TABLE \S+ ADD (COLUMN|INDEX|PROJECTION)) IF NOT EXISTS /,
      );
    }
  });
});
