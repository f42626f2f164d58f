import eslint from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

const NO_ENVIRONMENT = 'Only src/config.ts reads the environment: add the setting there.';

/** How big things may get. A file or function over its budget is two things. */
const budgets = {
  'max-lines': ['error', 250],
  'max-lines-per-function': ['error', 60],
  'max-params': ['error', 4],
  'max-depth': ['error', 3],
  // A switch counts once: a long list of cases is not complicated.
  complexity: ['error', { max: 12, variant: 'modified' }],
};

export default defineConfig(
  globalIgnores(['dist/', 'dist.*.tmp/', 'data/', 'coverage/', 'schema/']),
  // Rules are met or changed here, for everyone: no waivers inside files.
  { linterOptions: { noInlineConfig: true } },
  eslint.configs.recommended,
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        Buffer: 'readonly',
        URL: 'readonly',
        console: 'readonly',
        process: 'readonly',
        setTimeout: 'readonly',
      },
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      ...budgets,
      // `== null` means null or undefined.
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-param-reassign': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', ignoreRestSiblings: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // A switch names every case of a union, or says in a default what becomes of the others.
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: true },
      ],
      // The decorated classes of the GraphQL edge hold nothing but decorators.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/config.ts'],
    rules: {
      'no-restricted-properties': ['error', { object: 'process', property: 'env', message: NO_ENVIRONMENT }],
      'no-restricted-imports': [
        'error',
        {
          paths: ['process', 'node:process'].map((name) => ({
            name,
            importNames: ['env', 'default'],
            message: NO_ENVIRONMENT,
          })),
        },
      ],
    },
  },
  {
    files: ['src/ports/**/*.ts', 'src/senders/*-*.ts'],
    rules: { 'max-lines': ['error', 400] },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'max-lines': ['error', 600], 'max-lines-per-function': 'off' },
  },
);
