/**
 * The environment git runs in: built from an allow-list, never inherited whole. Inherited
 * GIT_TEMPLATE_DIR, GIT_CONFIG_*, GIT_SSH_COMMAND and the like execute code or redirect commands.
 * Configuration goes by environment as well, which neither `ps` nor GIT_TRACE2 shows and no file
 * keeps. The machine owner's system and global configuration is read (proxies, certificates), with
 * what must hold for us overridden.
 */

/** What git, curl and Git for Windows need of the machine; everything else is left out. */
const INHERITED = [
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'XDG_CONFIG_HOME',
  'TMPDIR',
  'TEMP',
  'TMP',
  'SYSTEMROOT',
  'WINDIR',
  'COMSPEC',
  'PATHEXT',
  'SYSTEMDRIVE',
  'USERPROFILE',
  'HOMEDRIVE',
  'HOMEPATH',
  'APPDATA',
  'LOCALAPPDATA',
  'PROGRAMDATA',
  'PROGRAMFILES',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'ALL_PROXY',
  'NO_PROXY',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'CURL_CA_BUNDLE',
  'GIT_SSL_CAINFO',
  'GIT_SSL_CAPATH',
  'GIT_PROXY_SSL_CAINFO',
];

const FIXED = {
  // Messages are matched in failure.ts.
  LC_ALL: 'C',
  LANGUAGE: '',
  // Nobody is there to answer.
  GIT_TERMINAL_PROMPT: '0',
  GCM_INTERACTIVE: 'never',
  // Beats every protocol.*.allow of a configuration: no ext::, file:, git:.
  GIT_ALLOW_PROTOCOL: 'http:https',
  // Beat http.lowSpeed* of a configuration, also where that is scoped to a URL: a server may be
  // silent for minutes while it computes a large pack.
  GIT_HTTP_LOW_SPEED_LIMIT: '0',
  GIT_HTTP_LOW_SPEED_TIME: '0',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  // Refs are written as files here, whatever a configuration or a later git would choose.
  GIT_DEFAULT_REF_FORMAT: 'files',
  // Beat trace2.* of a configuration, which can write http.extraheader into a file.
  GIT_TRACE2: '0',
  GIT_TRACE2_EVENT: '0',
  GIT_TRACE2_PERF: '0',
} as const;

const CONFIGURATION: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.askPass', ''],
  ['credential.helper', ''],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['fetch.recurseSubmodules', 'false'],
  ['fetch.writeCommitGraph', 'false'],
  // A fetch's objects stay one pack, whatever their number: packs are what snapshots hold.
  ['fetch.unpackLimit', '1'],
  ['transfer.bundleURI', 'false'],
  ['http.followRedirects', 'false'],
];

export interface UpstreamAccess {
  /** Without a secret. */
  url: string;
  /** Empty for none. */
  token: string;
  /** The command that reaches it (see ssh.ts), where that is by SSH. */
  sshCommand?: string;
}

/** Variables for git; with `access`, git may reach that upstream, with its token or key. */
export function buildGitEnvironment(
  inherited: NodeJS.ProcessEnv,
  access?: UpstreamAccess,
): NodeJS.ProcessEnv {
  const command = access?.sshCommand;
  const entries = access === undefined || command !== undefined ? [] : accessConfiguration(access);
  return {
    ...pickInherited(inherited),
    ...FIXED,
    ...(command === undefined ? {} : sshVariables(command)),
    ...asVariables([...CONFIGURATION, ...entries]),
  };
}

/** They beat core.sshCommand and ssh.variant of a configuration. */
function sshVariables(command: string): NodeJS.ProcessEnv {
  return {
    GIT_ALLOW_PROTOCOL: 'ssh',
    GIT_SSH_COMMAND: command,
    // Not guessed from the command, which begins with a `cd`.
    GIT_SSH_VARIANT: 'ssh',
  };
}

/** What HTTP calls basic authentication, as actions/checkout sends it. */
export function basicCredential(token: string): string {
  return Buffer.from(`x-access-token:${token}`).toString('base64');
}

function accessConfiguration({ url, token }: UpstreamAccess): [string, string][] {
  // Scoped to the whole URL, the most specific scope there is: wins over a user's own http.<url>.*.
  const scoped: [string, string][] = [[`http.${url}.followRedirects`, 'false']];
  if (token === '') return scoped;
  const header = `AUTHORIZATION: basic ${basicCredential(token)}`;
  // The empty value drops headers that a user's configuration adds; two of them are refused.
  return [...scoped, [`http.${url}.extraheader`, ''], [`http.${url}.extraheader`, header]];
}

function pickInherited(inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const allowed = new Set(INHERITED);
  // Names are case-insensitive on Windows, and curl reads http_proxy in lower case.
  const picked = Object.entries(inherited).filter(([name]) => allowed.has(name.toUpperCase()));
  return Object.fromEntries(picked);
}

function asVariables(configuration: readonly (readonly [string, string])[]): NodeJS.ProcessEnv {
  const variables: NodeJS.ProcessEnv = { GIT_CONFIG_COUNT: String(configuration.length) };
  configuration.forEach(([key, value], index) => {
    variables[`GIT_CONFIG_KEY_${String(index)}`] = key;
    variables[`GIT_CONFIG_VALUE_${String(index)}`] = value;
  });
  return variables;
}
