/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  // Suites named *.server.test.ts need a real server; they run on their own, by --testMatch. Those
  // named *.s3.test.ts have a configuration of their own.
  testMatch: ['<rootDir>/test/**/*.test.ts', '!**/*.server.test.ts', '!**/*.s3.test.ts'],
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
  testTimeout: 60_000,
  // More than two cores can do at once: many tests wait for something.
  maxWorkers: 3,
  // Of tests that say they may run at once, in one suite.
  maxConcurrency: 3,
};
