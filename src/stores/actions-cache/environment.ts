/** What the environment of a job says of the Actions cache, and what of it the worker gets. */
import { TEMPORARY_FOR_TOOLKIT, WORKSPACE_FOR_TOOLKIT } from './folder.ts';

const NEEDED = [
  'ACTIONS_RESULTS_URL',
  'ACTIONS_RUNTIME_TOKEN',
  'ACTIONS_CACHE_SERVICE_V2',
] as const;

/** Everything else stays out: options for tar and zstd, and credentials that it doesn't need. */
const PASSED_ON = new Set([
  ...NEEDED,
  'ACTIONS_CACHE_MODE',
  'ACTIONS_ORCHESTRATION_ID',
  'CACHE_UPLOAD_CHUNK_SIZE',
  'CACHE_UPLOAD_CONCURRENCY',
  'GITHUB_SERVER_URL',
  'SEGMENT_DOWNLOAD_TIMEOUT_MINS',
  // How to reach it from here.
  'ALL_PROXY',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'NODE_OPTIONS',
  'SSL_CERT_DIR',
  'SSL_CERT_FILE',
  // What programs need to be found, and to run.
  'COMSPEC',
  'HOME',
  'LD_LIBRARY_PATH',
  'PATH',
  'PATHEXT',
  'PROGRAMFILES',
  'SYSTEMDRIVE',
  'SYSTEMROOT',
  'USERPROFILE',
  'WINDIR',
]);

/** Modes of the platform in which a job may not read; in others it may, or the service says so. */
const UNREADABLE_MODES = ['none', 'write-only'];

/** Why the Actions cache cannot be used by this job, for people; undefined where it can. */
export function findActionsCacheFault(environment: NodeJS.ProcessEnv): string | undefined {
  if (isEnterpriseServer(environment['GITHUB_SERVER_URL'])) {
    return 'GitHub Enterprise Server has no cache service of the kind that is needed';
  }
  const missing = NEEDED.filter((name) => (environment[name] ?? '') === '');
  if (missing.length > 0) {
    const names = missing.join(' and ');
    return `the runner offers no cache service to this step (it sets no ${names})`;
  }
  const mode = (environment['ACTIONS_CACHE_MODE'] ?? '').trim().toLowerCase();
  if (UNREADABLE_MODES.includes(mode)) {
    return `the workflow does not let this job read the cache (its cache-mode is ${mode})`;
  }
  return undefined;
}

/** As the toolkit sees it: it would use the service of version 1 there. */
function isEnterpriseServer(url: string | undefined): boolean {
  const host = URL.parse(url ?? '')?.hostname.toUpperCase() ?? 'GITHUB.COM';
  return host !== 'GITHUB.COM' && !host.endsWith('.GHE.COM') && !host.endsWith('.LOCALHOST');
}

/** The worker's environment: the folder that it works in takes the place of the job's. */
export function workerEnvironment(
  environment: NodeJS.ProcessEnv,
  temporaryFolder: string,
): NodeJS.ProcessEnv {
  const passed = Object.entries(environment).filter(([name]) => PASSED_ON.has(name.toUpperCase()));
  return {
    ...Object.fromEntries(passed),
    // So that messages of tar can be told apart.
    LC_ALL: 'C',
    GITHUB_WORKSPACE: WORKSPACE_FOR_TOOLKIT,
    RUNNER_TEMP: TEMPORARY_FOR_TOOLKIT,
    TMPDIR: temporaryFolder,
    TEMP: temporaryFolder,
    TMP: temporaryFolder,
  };
}
