import base from './jest.config.js';

/**
 * What answers while you edit: units and contracts that run in this process. A suite that starts
 * many processes or a server is named `*.slow.test.ts`, unless its folder says so.
 * @type {import('jest').Config}
 */
export default {
  ...base,
  testPathIgnorePatterns: [
    '/test/(?:jobs|faults|support)/',
    '/actions-cache[./]',
    '\\.slow\\.test\\.ts$',
  ],
};
