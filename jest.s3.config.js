import base from './jest.config.js';

/** @type {import('jest').Config} */
export default {
  ...base,
  testMatch: ['<rootDir>/test/**/*.s3.test.ts'],
  globalSetup: '<rootDir>/test/support/s3/set-up.ts',
  globalTeardown: '<rootDir>/test/support/s3/tear-down.ts',
};
