/**
 * From what git left behind to a named failure. git's exit code is 128 for nearly everything, so
 * the kind is read from stderr (in the C locale), by one table. Pure.
 */
import { MirrorError, type GitFailureKind } from '../errors.ts';
import type { ChildResult } from './child.ts';

/** Lines that upstream sent: damage reported there is upstream's, not the mirror's. */
const REMOTE_LINE = 'remote: ';

interface Rule {
  kind: GitFailureKind;
  /** `local`: only lines that git itself wrote; `any`: upstream's as well. */
  lines: 'local' | 'any';
  pattern: RegExp;
}

/** In order: the first rule that matches names the failure. */
const RULES: readonly Rule[] = [
  {
    kind: 'no-space',
    lines: 'local',
    pattern:
      /no space left on device|disk quota exceeded|not enough space on the disk|out of diskspace/i,
  },
  {
    kind: 'authentication',
    lines: 'any',
    pattern:
      /authentication failed|could not read (?:username|password)|terminal prompts disabled|returned error: 40[13]\b|permission denied \(|host key verification failed|invalid username or (?:token|password)|access denied/i,
  },
  {
    kind: 'not-found',
    lines: 'any',
    pattern:
      /repository not found|repository '.*' not found|returned error: (?:404|410)\b|does not appear to be a git repository/i,
  },
  {
    kind: 'moved',
    lines: 'local',
    pattern: /returned error: 30[12378]\b|unable to update url base from redirection/i,
  },
  {
    // The pack that came was damaged on its way. Its deltas against objects of the mirror that
    // cannot be read are `unresolved deltas` instead.
    kind: 'network',
    lines: 'local',
    pattern:
      /(?:pack has bad object|pack is corrupted|pack signature mismatch|pack has junk)[^]*invalid index-pack output/i,
  },
  {
    // No single words: names of repositories are in the messages (`inflate`, `openssl`).
    kind: 'corrupt-mirror',
    lines: 'local',
    pattern:
      /missing (?:object|blob|tree|commit|necessary)|bad (?:object|tree|commit|packed object)|could not (?:parse|read) [0-9a-f]{40}|unable to (?:read|parse) (?:[0-9a-f]{40}|sha1|object|tree|packed)|is corrupt|corrupt (?:loose|packed)|^(?:error|fatal): (?:serious )?inflate|object file .* is empty|unresolved deltas|did not send all necessary objects|packfile .* (?:cannot be|does not match|is far too)|index file .* (?:is too|corrupt)|wrong index|sha1 mismatch|hash mismatch|unable to create '.*\.lock'|not a git repository: '|unable to find [0-9a-f]{40}|error in object|delta base|unexpected line in .*packed-refs|failed to (?:read|unpack|traverse)/im,
  },
  {
    kind: 'network',
    lines: 'any',
    pattern:
      /returned error: (?:408|429|5\d\d)\b|could not resolve|couldn't (?:connect|resolve)|failed to connect|connection (?:refused|reset|timed out|was closed)|operation (?:too slow|timed out)|rpc failed|early eof|unexpected disconnect|hung up unexpectedly|empty reply|transfer closed|recv failure|send failure|curl \d+|protocol error|expected flush|bad (?:line length|pack header)|invalid index-pack output|network is unreachable|timed out|expected '?packfile|the requested url|unable to access '?https?:|info\/refs'? not valid/i,
  },
];

/** Names the failure of a git command that did not succeed. */
export function classifyFailure(result: ChildResult): GitFailureKind {
  if (result.ended === 'cancelled') return 'cancelled';
  if (result.ended === 'timeout') return 'timeout';
  const all = result.stderr;
  const local = all
    .split(/[\r\n]+/)
    .filter((line) => !line.startsWith(REMOTE_LINE))
    .join('\n');
  const rule = RULES.find(({ lines, pattern }) => pattern.test(lines === 'local' ? local : all));
  return rule?.kind ?? 'unknown';
}

/** The error for a git command that did not succeed; `what` says what was being done, on what. */
export function gitFailure(result: ChildResult, what: string): MirrorError {
  const kind = classifyFailure(result);
  return new MirrorError(kind, `${what}: ${explain(kind, result)}`);
}

const EXPLANATIONS: Partial<Record<GitFailureKind, string>> = {
  authentication: 'upstream refused the credentials; check `token` and what it may read',
  'not-found':
    'upstream has no such repository, or the token may not see it; check `repository`, `github-server-url` and `token`',
  moved: 'upstream answers from another address, which is not followed; set `repository` to it',
  'no-space': 'no space left on the disk',
  'corrupt-mirror': 'the mirror is damaged',
  cancelled: 'it was cancelled',
  network: 'upstream could not be reached, or broke off',
};

function explain(kind: GitFailureKind, result: ChildResult): string {
  if (kind === 'timeout') {
    return `it did not end within ${String(Math.round(result.durationMs / 1000))} s`;
  }
  const said = lastWords(result.stderr);
  const explanation = EXPLANATIONS[kind];
  const ending =
    result.ended === 'overflow' ? 'it sent too much' : `exit ${String(result.exitCode)}`;
  return [explanation, said === '' ? `git ended with ${ending}` : `git says: ${said}`]
    .filter((part) => part !== undefined)
    .join('; ');
}

/** The lines of stderr that say most, on one line: those marked as errors, else the last. */
function lastWords(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.trim() !== '');
  const marked = lines.filter((line) => /^(?:remote: )?(?:fatal|error):/i.test(line));
  return (marked.length > 0 ? marked : lines).slice(-3).join(' | ').slice(0, 600);
}
