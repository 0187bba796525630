/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  // The others have scripts and configurations of their own: `npm run test:server`, `test:s3`,
  // `test:support`.
  testMatch: [
    '<rootDir>/test/**/*.test.ts',
    '!**/*.server.test.ts',
    '!**/*.s3.test.ts',
    '!**/test/support/**',
  ],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2024' },
        module: { type: 'es6' },
      },
    ],
  },
  testTimeout: 180_000,
  // More than two cores can run at once: many tests wait for something.
  maxWorkers: 5,
  // A process starts others more slowly the more memory it holds, and modules of suites that have ended stay.
  workerIdleMemoryLimit: '150MB',
  // Of tests in one suite that may run at the same time.
  maxConcurrency: 3,
};
