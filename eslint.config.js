import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'target/', 'target-wasm/', 'native/', 'wasm/', '.cache/'] },
  ...tseslint.configs.strict,
  {
    rules: {
      // Indexes that a loop has just checked are asserted; `noUncheckedIndexedAccess` makes every other one explicit.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
    },
  },
);
