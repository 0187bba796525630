/**
 * The environment that git runs in, from an allow-list: inherited GIT_TEMPLATE_DIR, GIT_CONFIG_*, GIT_SSH_COMMAND and
 * others execute code or redirect commands (git fact 16). Of the machine's configuration, many keys change what a mirror
 * holds (git fact 10), so only those of the connection are passed on (connection.ts). Configuration is passed by
 * environment, which neither `ps` nor GIT_TRACE2 shows and no file keeps (git fact 15).
 */
import { join } from 'node:path';

/** Variables that git, curl and Git for Windows need, and those that only concern the connection. */
const INHERITED = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'XDG_CONFIG_HOME', 'TMPDIR', 'TEMP', 'TMP'],
  ...['SYSTEMROOT', 'WINDIR', 'COMSPEC', 'PATHEXT', 'SYSTEMDRIVE', 'USERPROFILE', 'HOMEDRIVE'],
  ...['HOMEPATH', 'APPDATA', 'LOCALAPPDATA', 'PROGRAMDATA', 'PROGRAMFILES'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'CURL_CA_BUNDLE'],
  ...['GIT_SSL_NO_VERIFY', 'GIT_SSL_CAINFO', 'GIT_SSL_CAPATH', 'GIT_SSL_CERT', 'GIT_SSL_KEY'],
  ...['GIT_SSL_VERSION', 'GIT_SSL_CIPHER_LIST', 'GIT_HTTP_PROXY_AUTHMETHOD', 'GIT_HTTP_USER_AGENT'],
  ...['GIT_PROXY_SSL_CAINFO', 'GIT_PROXY_SSL_CERT', 'GIT_PROXY_SSL_KEY'],
]);

/** Where the machine's configuration is, as a job may have set it. */
const CONFIGURATION_SOURCES = /^GIT_CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|PARAMETERS)$/;

const FIXED = {
  // Messages are matched in failure.ts.
  LC_ALL: 'C',
  LANGUAGE: '',
  // Nobody is there to answer.
  GIT_TERMINAL_PROMPT: '0',
  GCM_INTERACTIVE: 'never',
  // Beats every protocol.*.allow of a configuration: no ext::, file:, git:.
  GIT_ALLOW_PROTOCOL: 'http:https',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  // Refs are written as files here, whatever a configuration or a later git would choose.
  GIT_DEFAULT_REF_FORMAT: 'files',
  // Beat trace2.* of the machine, which can write files and show variables.
  GIT_TRACE2: '0',
  GIT_TRACE2_EVENT: '0',
  GIT_TRACE2_PERF: '0',
} as const;

/** Git for Windows knows this name too. */
const NO_FILE = '/dev/null';

const NO_CONFIGURATION = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_SYSTEM: NO_FILE,
  GIT_CONFIG_GLOBAL: NO_FILE,
} as const;

export type Configuration = readonly (readonly [key: string, value: string])[];

const CONFIGURATION: Configuration = [
  ['core.hooksPath', NO_FILE],
  // A mirror's place can be deeper than Windows allows by default.
  ['core.longPaths', 'true'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['fetch.recurseSubmodules', 'false'],
  // A fetch's objects stay one pack, whatever their number: packs are what snapshots hold.
  ['fetch.unpackLimit', '1'],
  ['http.followRedirects', 'false'],
];

export interface UpstreamAccess {
  /** Without a secret. */
  url: string;
  /** Empty for none, and for SSH. */
  token: string;
  /** The command that reaches it (see ssh.ts), where that is by SSH. */
  sshCommand?: string;
}

/** Variables for git: those of every command, with no configuration but ours. */
export function buildGitEnvironment(inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...pickInherited(inherited),
    ...FIXED,
    ...NO_CONFIGURATION,
    ...asVariables(CONFIGURATION),
  };
}

/** Variables for a git that may reach that upstream, with its token or key, over that connection. */
export function buildUpstreamEnvironment(
  inherited: NodeJS.ProcessEnv,
  access: UpstreamAccess,
  connection: Configuration,
): NodeJS.ProcessEnv {
  return {
    ...buildGitEnvironment(inherited),
    ...sshVariables(access),
    // The last value of a key wins.
    ...asVariables([...connection, ...CONFIGURATION, ...accessConfiguration(access)]),
  };
}

/** For the helper below. git-lfs writes every variable named GIT_* into its error logs. */
const LFS_TOKEN = 'MIRROR_ACTION_LFS_TOKEN';
const LFS_REFUSED = 'MIRROR_ACTION_LFS_REFUSED';
/** A token that was refused is not given again: git-lfs would ask for ever. */
const LFS_HELPER = `!f() {
  case "$1" in
    get) test -e "$${LFS_REFUSED}" || printf 'username=x-access-token\\npassword=%s\\n' "$${LFS_TOKEN}" ;;
    erase) : >"$${LFS_REFUSED}" ;;
  esac
}; f`;

/**
 * Variables for a git-lfs that downloads objects of that upstream into a folder. Only a helper gives the
 * token, and only to upstream's host: the LFS server can name URLs of any host, and redirect to it.
 */
export function buildLfsEnvironment(
  inherited: NodeJS.ProcessEnv,
  access: UpstreamAccess,
  connection: Configuration,
  storage: string,
): NodeJS.ProcessEnv {
  const { url, token, sshCommand } = access;
  // As git-lfs itself, and so actions/checkout, finds the server of a remote.
  const server = sshCommand === undefined ? `${url.replace(/\.git$/, '')}.git/info/lfs` : url;
  const credential: Configuration =
    token === ''
      ? []
      : [
          [`credential.${new URL(url).origin}.helper`, LFS_HELPER],
          // Saves a request that is refused.
          [`lfs.${server}.access`, 'basic'],
          // Drops the machine's headers, as for git.
          [`http.${server}.extraheader`, ''],
        ];
  const ours = [...lfsConfiguration(server, storage), ...credential];
  return {
    ...buildGitEnvironment(inherited),
    ...sshVariables(access),
    [LFS_TOKEN]: token,
    [LFS_REFUSED]: join(storage, 'refused'),
    ...asVariables([...connection, ...CONFIGURATION, ...ours]),
  };
}

/** Beats what a repository's `.lfsconfig` may set, and bounds the retries: a deadline ends the rest. */
function lfsConfiguration(server: string, storage: string): Configuration {
  return [
    ['lfs.url', server],
    ['lfs.storage', storage],
    ['lfs.fetchinclude', ''],
    ['lfs.fetchexclude', ''],
    ['lfs.fetchrecentalways', 'false'],
    ['lfs.standalonetransferagent', ''],
    ['lfs.basictransfersonly', 'true'],
    ['lfs.transfer.maxretries', '3'],
    ['lfs.transfer.maxretrydelay', '3'],
    // The other protocol over SSH leaves folders of sockets behind where it fails.
    ['lfs.sshtransfer', 'never'],
    ['lfs.ssh.automultiplex', 'false'],
    // Forgets the helpers of the machine.
    ['credential.helper', ''],
  ];
}

/**
 * Variables for a git that reads the machine's configuration as a checkout would, for what is made in
 * the workspace. It reaches nothing and has no credential.
 */
export function buildMachineEnvironment(inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const sources = Object.entries(inherited).filter(([name]) => CONFIGURATION_SOURCES.test(name));
  return {
    ...pickInherited(inherited),
    ...FIXED,
    ...Object.fromEntries(sources),
    ...asVariables([...readVariables(inherited), ...CONFIGURATION]),
  };
}

function sshVariables({ sshCommand }: UpstreamAccess): NodeJS.ProcessEnv {
  if (sshCommand === undefined) return {};
  return {
    GIT_ALLOW_PROTOCOL: 'ssh',
    GIT_SSH_COMMAND: sshCommand,
    // Not guessed from the command, which begins with a `cd`.
    GIT_SSH_VARIANT: 'ssh',
  };
}

/** What HTTP calls basic authentication, as actions/checkout sends it. */
export function basicCredential(token: string): string {
  return Buffer.from(`x-access-token:${token}`).toString('base64');
}

function accessConfiguration({ url, token, sshCommand }: UpstreamAccess): Configuration {
  if (token === '' || sshCommand !== undefined) return [];
  const header = `AUTHORIZATION: basic ${basicCredential(token)}`;
  // The empty value drops headers that the machine's configuration adds (git fact 13).
  // Scoped to the whole URL, the most specific scope there is.
  return [
    [`http.${url}.extraheader`, ''],
    [`http.${url}.extraheader`, header],
  ];
}

function pickInherited(inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  // Names are case-insensitive on Windows, and curl reads http_proxy in lower case.
  const picked = Object.entries(inherited).filter(([name]) => INHERITED.has(name.toUpperCase()));
  return Object.fromEntries(picked);
}

/** What a job has set by GIT_CONFIG_COUNT; entries that are not there are left out. */
function readVariables(inherited: NodeJS.ProcessEnv): Configuration {
  const count = inherited['GIT_CONFIG_COUNT'] ?? '';
  return Array.from(
    { length: /^\d{1,4}$/.test(count) ? Number(count) : 0 },
    (_, index) =>
      [
        inherited[`GIT_CONFIG_KEY_${String(index)}`] ?? '',
        inherited[`GIT_CONFIG_VALUE_${String(index)}`] ?? '',
      ] as const,
  ).filter(([key]) => key !== '');
}

function asVariables(configuration: Configuration): NodeJS.ProcessEnv {
  const variables: NodeJS.ProcessEnv = { GIT_CONFIG_COUNT: String(configuration.length) };
  configuration.forEach(([key, value], index) => {
    variables[`GIT_CONFIG_KEY_${String(index)}`] = key;
    variables[`GIT_CONFIG_VALUE_${String(index)}`] = value;
  });
  return variables;
}
