/**
 * Names the failure of a git command. git's exit code is 128 for nearly every failure (git fact 1), so a table reads
 * the kind from stderr, in the C locale. Pure.
 */
import { formatDuration } from '../lib/durations.ts';
import { MirrorError, type Concern, type GitFailureKind } from '../lib/errors.ts';
import type { ChildResult } from '../lib/process.ts';

/** Lines that upstream sent: damage reported there is upstream's, not the mirror's. */
const REMOTE_LINE = 'remote: ';

interface Rule {
  kind: GitFailureKind;
  pattern: RegExp;
  /** Whether lines that upstream sent count, and not only git's own. */
  includesRemote?: true;
  /** What happened, where the kind alone does not say. */
  explanation?: string;
  /** The setting that a person may have to change, where the kind alone does not say. */
  concern?: Concern;
}

/** An answer of status 200 that does not speak git's protocol, as git reports it. */
const NOT_GIT =
  /info\/refs not valid: is this a git repository|bad line length character: (?:<|\s*<?!)/i;

/** What answers so: also where git takes the answer for a list of no refs (mirror/upstream.ts). */
export const NO_GIT_SERVER =
  "the answer is not git's protocol: a sign-on page, a captive portal, or static files may answer instead of the server";

/** In order: the first rule that matches names the failure. */
const RULES: readonly Rule[] = [
  {
    kind: 'no-space',
    pattern:
      /no space left on device|disk quota exceeded|not enough space on the disk|out of diskspace/i,
  },
  {
    // Before the next rule: ssh continues without the key (see ssh.ts), and is refused.
    kind: 'authentication',
    pattern: /^load key "key": /im,
    explanation: 'ssh cannot use the key',
    concern: 'ssh-key',
  },
  {
    kind: 'authentication',
    pattern: /permission denied \(|too many authentication failures/i,
    explanation: 'upstream refused the key',
    concern: 'ssh-user',
  },
  {
    kind: 'authentication',
    pattern: /host key verification failed/i,
    explanation: "the server's host key is unknown, or is not the known one",
    concern: 'known-hosts',
  },
  {
    kind: 'ssh-unusable',
    pattern: /^no user exists for uid \d+/im,
    explanation: 'ssh needs an entry for this user in /etc/passwd, which this container lacks',
  },
  {
    // Before the codes that follow: an odd word in a page must not be taken for one of them.
    kind: 'network',
    pattern: NOT_GIT,
    explanation: NO_GIT_SERVER,
    concern: 'server',
  },
  {
    kind: 'network',
    pattern: /returned error: 429\b/i,
    explanation: 'upstream limits the number of requests (status 429)',
    concern: 'request-rate',
  },
  {
    kind: 'depth-refused',
    pattern: /does not support (?:shallow|--depth)/i,
    explanation: 'upstream cannot leave out history',
    concern: 'fetch-depth',
  },
  {
    kind: 'network',
    pattern: /certificate subject name|SEC_E_WRONG_PRINCIPAL/i,
    explanation: "upstream's TLS certificate is for another host",
    concern: 'server',
  },
  {
    kind: 'network',
    pattern:
      /ssl certificate|certificate verif|certificate problem|unable to get local issuer|self[- ]signed|CRYPT_E_/i,
    explanation:
      "upstream's TLS certificate is not trusted; set http.sslCAInfo in this machine's git configuration, or GIT_SSL_CAINFO",
  },
  {
    kind: 'authentication',
    includesRemote: true,
    pattern:
      /authentication failed|could not read (?:username|password)|terminal prompts disabled|returned error: 40[13]\b|invalid username or (?:token|password)|access denied|has enabled or enforced SAML/i,
  },
  {
    kind: 'not-found',
    includesRemote: true,
    pattern:
      /repository not found|cannot find repository|project you were looking for could not be found|repository '.*' not found|returned error: (?:404|410)\b|does not appear to be a git repository/i,
  },
  {
    kind: 'moved',
    pattern: /returned error: 30[12378]\b|unable to update url base from redirection/i,
  },
  {
    // Damaged on its way. Deltas against unreadable objects of the mirror are `unresolved deltas`.
    kind: 'network',
    pattern:
      /(?:pack has bad object|pack is corrupted|pack signature mismatch|pack has junk)[^]*invalid index-pack output/i,
  },
  {
    // Over SSH upstream's lines have no mark; but its git works in its own folder, and ours gets whole paths.
    kind: 'network',
    includesRemote: true,
    pattern:
      /repository corruption on the remote side|(?:packfile|stored in|index file) \.\/objects\//i,
    explanation: 'upstream itself is damaged',
  },
  {
    // No single words: names of repositories are in the messages (`inflate`, `openssl`).
    kind: 'corrupt-mirror',
    pattern:
      /missing (?:object|blob|tree|commit|necessary)|bad (?:object|tree|commit|packed object)|could not (?:parse|read) [0-9a-f]{40}|(?:could not|unable to) get (?:type|size) of|unable to (?:read|parse) (?:[0-9a-f]{40}|sha1|object|tree|packed)|is corrupt|corrupt (?:loose|packed)|^(?:error|fatal): (?:serious )?inflate|object file .* is empty|unresolved deltas|did not send all necessary objects|packfile .* (?:cannot be|does not match|is far too)|index file .* (?:is too|corrupt)|wrong index|sha1 mismatch|hash mismatch|unable to create '.*\.lock'|not a git repository: '|unable to find [0-9a-f]{40}|error in object|inconsistent object length|delta base|unexpected line in .*packed-refs|failed to (?:read|unpack|traverse)/im,
  },
  {
    kind: 'network',
    includesRemote: true,
    pattern:
      /returned error: (?:408|429|5\d\d)\b|could not resolve|couldn't (?:connect|resolve)|failed to connect|connection (?:refused|reset|timed out|was closed|closed|corrupted)|connection to .* closed|closed by remote host|broken pipe|not responding|no route to host|host is down|kex_exchange_identification|corrupted mac|bad packet length|operation (?:too slow|timed out)|rpc failed|early eof|unexpected disconnect|hung up unexpectedly|empty reply|transfer closed|recv failure|send failure|curl \d+|protocol error|expected flush|bad (?:line length|pack header)|network is unreachable|timed out|expected '?packfile|the requested url|unable to access '?https?:|info\/refs'? not valid/i,
  },
];

/** What a kind means where no rule says more. */
const MEANINGS: Partial<Record<GitFailureKind, Pick<Rule, 'explanation' | 'concern'>>> = {
  authentication: { explanation: 'upstream refused the credentials', concern: 'token' },
  'not-found': {
    explanation: 'upstream has no such repository, or the credentials may not see it',
    concern: 'repository',
  },
  moved: {
    explanation: 'upstream answers from another address, which is not followed',
    concern: 'repository',
  },
  'no-space': { explanation: 'no space left on the disk', concern: 'mirror-place' },
  'corrupt-mirror': { explanation: 'the mirror is damaged' },
  network: { explanation: 'upstream could not be reached, or the connection broke' },
};

/** A git command that did not succeed, and why; `what` says what was being done, on what. */
export class GitFailure extends MirrorError {
  readonly result: ChildResult;

  constructor(result: ChildResult, what: string) {
    const { kind, explanation, concern } = diagnose(result);
    super(kind, `${what}: ${explanation}`, { concern });
    this.result = result;
  }
}

interface Diagnosis {
  kind: GitFailureKind;
  explanation: string;
  concern?: Concern | undefined;
}

function diagnose({ ended, durationMs, exitCode, stderr, stallMs = 0 }: ChildResult): Diagnosis {
  if (ended === 'timeout') {
    const seconds = String(Math.round(durationMs / 1000));
    const explanation = `it did not end within ${seconds} s`;
    return { kind: ended, explanation, concern: 'fetch-timeout' };
  }
  if (ended === 'stalled') {
    const explanation = `upstream showed no sign of life for ${formatDuration(stallMs)}`;
    return { kind: 'network', explanation, concern: 'stall-timeout' };
  }
  const said = lastWords(stderr);
  const ending = ended === 'overflow' ? 'it sent too much' : `exit ${String(exitCode)}`;
  const detail = said === '' ? `git ended with ${ending}` : `git says: ${said}`;
  if (ended === 'cancelled') return { kind: ended, explanation: `it was cancelled; ${detail}` };
  const local = linesOf(stderr)
    .filter((line) => !line.startsWith(REMOTE_LINE))
    .join('\n');
  const rule = RULES.find((each) => each.pattern.test(each.includesRemote ? stderr : local));
  if (rule === undefined) return { kind: 'unknown', explanation: detail };
  const { kind, explanation, concern } = { ...MEANINGS[rule.kind], ...rule };
  return {
    kind,
    explanation: explanation === undefined ? detail : `${explanation}; ${detail}`,
    concern,
  };
}

/** git's own words for every failure over SSH, after those that tell which. */
const SAYS_NOTHING =
  /^(?:fatal: could not read from remote repository\.|please make sure you have the correct access rights|and the repository exists\.)$/i;

/** The lines of stderr that say most, on one line: those marked as errors, else the last. */
function lastWords(stderr: string): string {
  const all = linesOf(stderr).filter((line) => line.trim() !== '');
  const telling = all.filter((line) => !SAYS_NOTHING.test(line.trim()));
  const lines = telling.length > 0 ? telling : all;
  const marked = lines.filter((line) => /^(?:remote: )?(?:fatal|error):/i.test(line));
  return (marked.length > 0 ? marked : lines).slice(-3).join(' | ').slice(0, 600);
}

function linesOf(text: string): string[] {
  return text.split(/[\r\n]+/);
}
