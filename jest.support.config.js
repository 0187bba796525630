import base from './jest.config.js';

/** @type {import('jest').Config} */
export default {
  ...base,
  testMatch: ['<rootDir>/test/support/tests/**/*.test.ts', '!**/*.s3.test.ts'],
};
