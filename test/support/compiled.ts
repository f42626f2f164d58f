import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import type { Started } from '../../src/lifecycle.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Compiles src without type checks into a new folder, for tests that need a process of their own (to kill it, say):
 * plain Node can import `<value>/lifecycle.js` and the like. `stop` removes the folder.
 */
export async function compileSources(): Promise<Started<string>> {
  const folder = await mkdtemp(join(tmpdir(), 'heliograph-compiled-'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  const entries = await readdir(join(ROOT, 'src'), { recursive: true, withFileTypes: true });
  const sources = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.ts'));
  await Promise.all(sources.map((entry) => compile(join(entry.parentPath, entry.name), folder)));
  return { value: folder, stop: () => rm(folder, { recursive: true, force: true }) };
}

async function compile(source: string, folder: string): Promise<void> {
  const target = join(folder, relative(join(ROOT, 'src'), source)).replace(/\.ts$/, '.js');
  const { outputText } = ts.transpileModule(await readFile(source, 'utf8'), {
    compilerOptions: OPTIONS,
    fileName: source,
  });
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, outputText);
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
  experimentalDecorators: true,
  useDefineForClassFields: false,
};
