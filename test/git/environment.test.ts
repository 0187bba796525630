/** What git is given of the machine's environment: what it needs, and nothing that it obeys. */
import { describe, expect, test } from '@jest/globals';
import {
  basicCredential,
  buildGitEnvironment,
  buildLfsEnvironment,
  buildMachineEnvironment,
  buildUpstreamEnvironment,
  type UpstreamAccess,
} from '../../src/git/environment.ts';

const TOKEN = 'ghs_canary/+=';
const access = { url: 'https://github.com/owner/name', token: TOKEN };
const overSsh = {
  url: 'git@github.com:owner/name.git',
  token: '',
  sshCommand: "cd '/tmp/it'\\''s' && exec ssh -i key",
};

/** For commands with access, or without. */
function build(inherited: NodeJS.ProcessEnv, reached?: UpstreamAccess): NodeJS.ProcessEnv {
  return reached === undefined
    ? buildGitEnvironment(inherited)
    : buildUpstreamEnvironment(inherited, reached, []);
}

/** Variables that execute code, redirect commands, write files, leak or change what git prints. */
const HOSTILE = [
  ...['GIT_DIR', 'GIT_WORK_TREE', 'GIT_COMMON_DIR', 'GIT_INDEX_FILE', 'GIT_OBJECT_DIRECTORY'],
  ...['GIT_ALTERNATE_OBJECT_DIRECTORIES', 'GIT_QUARANTINE_PATH', 'GIT_NAMESPACE', 'GIT_PREFIX'],
  ...['GIT_CEILING_DIRECTORIES', 'GIT_DISCOVERY_ACROSS_FILESYSTEM', 'GIT_SHALLOW_FILE'],
  ...['GIT_GRAFT_FILE', 'GIT_REPLACE_REF_BASE', 'GIT_TEMPLATE_DIR', 'GIT_EXEC_PATH'],
  ...['GIT_CONFIG', 'GIT_CONFIG_GLOBAL', 'GIT_CONFIG_SYSTEM', 'GIT_CONFIG_NOSYSTEM'],
  ...['GIT_CONFIG_PARAMETERS', 'GIT_CONFIG_KEY_99', 'GIT_CONFIG_VALUE_99'],
  ...['GIT_SSH', 'GIT_SSH_COMMAND', 'GIT_SSH_VARIANT', 'GIT_PROXY_COMMAND', 'GIT_EXTERNAL_DIFF'],
  ...['GIT_ASKPASS', 'SSH_ASKPASS', 'SSH_ASKPASS_REQUIRE', 'SSH_AUTH_SOCK', 'DISPLAY'],
  ...['GIT_EDITOR', 'GIT_SEQUENCE_EDITOR', 'GIT_PAGER', 'EDITOR', 'VISUAL', 'PAGER', 'BROWSER'],
  ...[
    'GIT_TRACE',
    'GIT_TRACE_CURL',
    'GIT_TRACE_CURL_NO_DATA',
    'GIT_TRACE_REDACT',
    'GIT_CURL_VERBOSE',
  ],
  ...['GIT_TRACE_PACKET', 'GIT_TRACE_PACKFILE', 'GIT_TRACE_SETUP', 'GIT_TRACE_PERFORMANCE'],
  ...['GIT_TRACE2_CONFIG_PARAMS', 'GIT_TRACE2_ENV_VARS', 'GIT_TRACE2_PARENT_SID', 'GIT_TR2_DST'],
  ...['GIT_REDIRECT_STDOUT', 'GIT_REDIRECT_STDERR', 'GIT_REDIRECT_STDIN', 'GIT_FLUSH'],
  ...['GIT_PROTOCOL', 'GIT_PROTOCOL_FROM_USER'],
  ...['GIT_SSL_CERT_PASSWORD_PROTECTED'],
  ...['GIT_HTTP_LOW_SPEED_LIMIT', 'GIT_HTTP_LOW_SPEED_TIME'],
  ...['GIT_DEFAULT_HASH', 'GIT_DEFAULT_REF_FORMAT', 'GIT_TEST_ASSUME_DIFFERENT_OWNER', 'GIT_PS1'],
  ...['GIT_ICASE_PATHSPECS', 'GIT_LITERAL_PATHSPECS', 'GIT_ATTR_SOURCE', 'GIT_ATTR_NOSYSTEM'],
  ...['LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT', 'DYLD_INSERT_LIBRARIES', 'GCONV_PATH'],
  ...['NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'BASH_ENV', 'ENV', 'SHELLOPTS', 'PS4', 'IFS'],
  ...['PERL5LIB', 'PERL5OPT', 'PYTHONPATH', 'OPENSSL_CONF', 'SSLKEYLOGFILE', 'CURL_HOME'],
  ...['LANG', 'LC_MESSAGES', 'TEXTDOMAINDIR', 'NLSPATH', 'CDPATH', 'GLOBIGNORE'],
  ...['GITHUB_TOKEN', 'INPUT_TOKEN', 'ACTIONS_RUNTIME_TOKEN', 'ACTIONS_ID_TOKEN_REQUEST_TOKEN'],
  ...['AWS_SECRET_ACCESS_KEY', 'STATE_mirror', 'BASH_FUNC_git%%', '__proto__', ''],
];

/** Its value is given by us, whatever was inherited. */
const FORCED: Record<string, string> = {
  LC_ALL: 'C',
  LANGUAGE: '',
  GIT_TERMINAL_PROMPT: '0',
  GCM_INTERACTIVE: 'never',
  GIT_ALLOW_PROTOCOL: 'http:https',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_DEFAULT_REF_FORMAT: 'files',
  GIT_TRACE2: '0',
  GIT_TRACE2_EVENT: '0',
  GIT_TRACE2_PERF: '0',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

const NEEDED = {
  PATH: '/usr/bin',
  HOME: '/home/runner',
  XDG_CONFIG_HOME: '/home/runner/.config',
  TMPDIR: '/tmp',
  HTTPS_PROXY: 'http://proxy.example:3128',
  https_proxy: 'http://proxy.example:3128',
  no_proxy: 'localhost',
  GIT_SSL_CAINFO: '/etc/ca.pem',
  GIT_SSL_NO_VERIFY: '1',
  GIT_SSL_CERT: '/etc/client.pem',
  GIT_HTTP_USER_AGENT: 'git/of-a-gateway',
  SSL_CERT_FILE: '/etc/ca.pem',
  SystemRoot: 'C:\\Windows',
};

function inheritedFrom(names: readonly string[], value: string): NodeJS.ProcessEnv {
  return Object.fromEntries(names.map((name) => [name, value]));
}

/** What git makes of GIT_CONFIG_COUNT and the rest; it fails for a count that is not met. */
function configurationOf(environment: NodeJS.ProcessEnv): [string, string][] {
  const count = Number(environment['GIT_CONFIG_COUNT']);
  return Array.from({ length: count }, (_, index) => {
    const key = environment[`GIT_CONFIG_KEY_${index}`];
    const value = environment[`GIT_CONFIG_VALUE_${index}`];
    if (key === undefined || value === undefined) throw new Error(`entry ${index} is not there`);
    return [key, value];
  });
}

function valuesOf(environment: NodeJS.ProcessEnv, wanted: string): string[] {
  return configurationOf(environment).flatMap(([key, value]) => (key === wanted ? [value] : []));
}

describe('hostile variables', () => {
  test.each(HOSTILE)('%j does not pass, in any spelling', (name) => {
    for (const spelling of [name, name.toLowerCase(), name.toUpperCase()]) {
      const environment = build({ [spelling]: 'hostile' }, access);
      expect(Object.values(environment)).not.toContain('hostile');
    }
  });

  test('leave git exactly what it has without them', () => {
    const hostile = { ...NEEDED, ...inheritedFrom(HOSTILE, 'hostile') };
    expect(build(hostile)).toEqual(build(NEEDED));
    expect(build(hostile, access)).toEqual(build(NEEDED, access));
    expect(build(hostile, overSsh)).toEqual(build(NEEDED, overSsh));
  });

  test('that are forced have our value', () => {
    const hostile = inheritedFrom(Object.keys(FORCED), 'hostile');
    expect(build(hostile)).toMatchObject(FORCED);
    expect(build({})).toMatchObject(FORCED);
  });

  test('cannot add, replace or cut short configuration', () => {
    const hostile = {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'core.hooksPath',
      GIT_CONFIG_VALUE_0: '/hostile',
      GIT_CONFIG_KEY_50: 'core.fsmonitor',
      GIT_CONFIG_VALUE_50: '/hostile',
    };
    expect(build(hostile, access)).toEqual(build({}, access));
  });
});

test('what git needs of the machine passes as it is', () => {
  expect(build(NEEDED)).toMatchObject(NEEDED);
});

test('nothing passes but what is needed, forced or configuration', () => {
  const names = Object.keys(build({ ...NEEDED, ...inheritedFrom(HOSTILE, 'x') }));
  const others = names.filter(
    (name) => !(name in NEEDED) && !(name in FORCED) && !name.startsWith('GIT_CONFIG_'),
  );
  expect(others).toEqual([]);
});

test('an absent variable stays absent', () => {
  expect('HTTPS_PROXY' in build({})).toBe(false);
  expect(Object.values(build({ HOME: undefined }))).not.toContain('undefined');
});

describe('configuration', () => {
  test.each([
    ['core.hooksPath', '/dev/null'],
    ['core.longPaths', 'true'],
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    ['fetch.recurseSubmodules', 'false'],
    ['fetch.unpackLimit', '1'],
    ['http.followRedirects', 'false'],
  ])('has %s = %j for every command', (key, value) => {
    expect(valuesOf(build({}), key)).toEqual([value]);
    expect(valuesOf(build({}, access), key)).toEqual([value]);
  });

  test('has as many entries as it says, none more', () => {
    for (const environment of [build({}), build({}, access)]) {
      const { length } = configurationOf(environment);
      const names = Object.keys(environment).filter((name) =>
        /^GIT_CONFIG_(?:COUNT|KEY|VALUE)/.test(name),
      );
      expect(names).toHaveLength(1 + 2 * length);
    }
  });

  test('holds no value that git would read as another key', () => {
    for (const [key, value] of configurationOf(build({}, access))) {
      expect(key).toMatch(/^[A-Za-z0-9]+\.(?:[^\n\0]+\.)?[A-Za-z][A-Za-z0-9]*$/);
      expect(value).not.toMatch(/[\n\0]/);
    }
  });
});

describe('the token', () => {
  const header = `http.${access.url}.extraheader`;

  test('is in the environment of a command with access, as HTTP sends it, and only so', () => {
    const environment = build(NEEDED, access);
    const sent = Buffer.from(`x-access-token:${TOKEN}`).toString('base64');
    expect(basicCredential(TOKEN)).toBe(sent);
    expect(valuesOf(environment, header)).toEqual(['', `AUTHORIZATION: basic ${sent}`]);
    const holders = Object.entries(environment).filter(([, value]) => value?.includes(sent));
    expect(holders).toHaveLength(1);
    expect(JSON.stringify(environment)).not.toContain(TOKEN);
  });

  test('is for that upstream alone: no other URL has a header', () => {
    const keys = configurationOf(build({}, access)).map(([key]) => key);
    const scoped = keys.filter((key) => /extraheader/i.test(key));
    expect(new Set(scoped)).toEqual(new Set([header]));
  });

  test('is not in the environment of a command without access', () => {
    const environment = build({ ...NEEDED, INPUT_TOKEN: TOKEN, GITHUB_TOKEN: TOKEN });
    expect(JSON.stringify(environment)).not.toContain(TOKEN);
    expect(JSON.stringify(environment)).not.toContain(basicCredential(TOKEN));
    expect(JSON.stringify(environment)).not.toMatch(/extraheader/i);
  });

  test('that is empty sends no header', () => {
    const environment = build({}, { ...access, token: '' });
    expect(JSON.stringify(environment)).not.toMatch(/extraheader/i);
  });

  test('of any characters makes a header of one line', () => {
    const credential = basicCredential(`ü${'x'.repeat(500)}: \t`);
    expect(credential).toMatch(/^[A-Za-z0-9+/]+=*$/);
  });
});

describe('the token for git-lfs', () => {
  const storage = '/folder/storage';

  test('is in one variable, whose name git-lfs does not log', () => {
    const hostile = { ...NEEDED, ...inheritedFrom(HOSTILE, 'hostile'), GIT_LFS_PROGRESS: 'x' };
    const environment = buildLfsEnvironment(hostile, access, [], storage);
    const holders = Object.entries(environment).filter(([, value]) =>
      [TOKEN, basicCredential(TOKEN)].some((secret) => value?.includes(secret)),
    );
    expect(holders).toEqual([['MIRROR_ACTION_LFS_TOKEN', TOKEN]]);
    const names = Object.keys(environment);
    expect(names.filter((name) => /^GIT_(?:LFS|TRACE_|CURL|TRACE$|TRANSFER)/.test(name))).toEqual(
      [],
    );
  });

  test('is for the host of that upstream alone, and replaces helpers of the machine', () => {
    const environment = buildLfsEnvironment({}, access, [], storage);
    const helpers = configurationOf(environment).filter(([key]) => key.includes('helper'));
    expect(helpers.map(([key]) => key)).toEqual([
      'credential.helper',
      'credential.https://github.com.helper',
    ]);
    expect(helpers[0]?.[1]).toBe('');
  });

  test('goes to the server that actions/checkout uses', () => {
    for (const url of [access.url, `${access.url}.git`]) {
      const environment = buildLfsEnvironment({}, { ...access, url }, [], storage);
      expect(valuesOf(environment, 'lfs.url')).toEqual([`${access.url}.git/info/lfs`]);
    }
    const environment = buildLfsEnvironment({}, overSsh, [], storage);
    expect(valuesOf(environment, 'lfs.url')).toEqual([overSsh.url]);
    expect(environment['GIT_SSH_COMMAND']).toBe(overSsh.sshCommand);
  });
});

describe('the connection of the machine', () => {
  const connection = [
    ['http.proxy', 'http://proxy.example:3128'],
    ['http.followRedirects', 'true'],
    [`http.${access.url}.extraheader`, 'AUTHORIZATION: basic other'],
  ] as const;

  test('is passed on, and what must hold for us follows it', () => {
    const entries = configurationOf(buildUpstreamEnvironment({}, access, connection));
    expect(entries.slice(0, 3)).toEqual(connection);
    const [last] = entries.filter(([key]) => key === 'http.followRedirects').slice(-1);
    expect(last).toEqual(['http.followRedirects', 'false']);
    const headers = entries
      .filter(([key]) => key.endsWith('extraheader'))
      .map(([, value]) => value);
    expect(headers.slice(-2)).toEqual(['', expect.stringContaining(basicCredential(TOKEN))]);
  });

  test('is read from where the job says, and there our own configuration comes last', () => {
    const environment = buildMachineEnvironment({
      ...NEEDED,
      GIT_CONFIG_GLOBAL: '/of/job',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'core.hooksPath',
      GIT_CONFIG_VALUE_0: '/hostile',
      GIT_CONFIG_KEY_7: 'core.fsmonitor',
      GIT_CONFIG_VALUE_7: '/hostile',
    });
    expect(environment).toMatchObject({ GIT_CONFIG_GLOBAL: '/of/job' });
    expect(valuesOf(environment, 'core.hooksPath')).toEqual(['/hostile', '/dev/null']);
    expect(valuesOf(environment, 'core.fsmonitor')).toEqual([]);
  });

  test.each(['', '-1', 'x', '99999999', '1 '])('with a count of %j has no entries', (count) => {
    const hostile = { GIT_CONFIG_COUNT: count, GIT_CONFIG_KEY_0: 'a.b', GIT_CONFIG_VALUE_0: 'x' };
    expect(buildMachineEnvironment(hostile)).toEqual(buildMachineEnvironment({}));
  });
});

describe('SSH', () => {
  const ALL_OF_SSH = { GIT_ALLOW_PROTOCOL: 'ssh', GIT_SSH_VARIANT: 'ssh' };

  test('has its command, and is the only way out', () => {
    const environment = build(NEEDED, overSsh);
    expect(environment).toMatchObject({ ...ALL_OF_SSH, GIT_SSH_COMMAND: overSsh.sshCommand });
  });

  test('is not there by HTTP, nor for a command without access, whatever is inherited', () => {
    const hostile = { ...NEEDED, GIT_SSH_COMMAND: 'hostile', GIT_SSH_VARIANT: 'plink' };
    for (const environment of [build(hostile, access), build(hostile)]) {
      expect(Object.keys(environment).filter((name) => name.startsWith('GIT_SSH_'))).toEqual([]);
      expect(environment).toMatchObject({ GIT_ALLOW_PROTOCOL: 'http:https' });
    }
  });

  test('sends no token', () => {
    const environment = build({}, { ...overSsh, token: TOKEN });
    expect(JSON.stringify(environment)).not.toContain(basicCredential(TOKEN));
    expect(configurationOf(environment)).toEqual(configurationOf(build({})));
  });
});
