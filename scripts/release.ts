/**
 * The jobs of .github/workflows/release.yml for a tag, in a clone with full history that is checked out at the
 * tag. Needs only Node and git: it runs in jobs that may write, where no code of others may run.
 *
 *     node scripts/release.ts check         the tag, the branch and the files agree
 *     node scripts/release.ts publish       the release on GitHub
 *     node scripts/release.ts move-major    the tag v1, for its users
 */
import { describeError } from '../src/lib/errors.ts';
import { publishRelease } from './release/github.ts';
import { Repository } from './release/repository.ts';
import { findVersionFaults, readNotes } from './release/tree.ts';
import { formatVersion, parseReleaseTag } from './release/version.ts';

/** The commit before a push, in the event of a new tag. */
const NOTHING = /^0*$/;

function read(name: string): string {
  const value = process.env[name] ?? '';
  if (value === '') throw new Error(`${name} is not set`);
  return value;
}

async function run(command: string | undefined): Promise<string> {
  const tag = read('TAG');
  const version = parseReleaseTag(tag);
  if (version === undefined) throw new Error(`${tag} is not a tag of a release, v1.2.3`);
  const repository = new Repository(process.cwd());
  repository.assertTagged(tag);
  switch (command) {
    case 'check': {
      const before = process.env['TAG_BEFORE'] ?? '';
      if (!NOTHING.test(before)) throw new Error(`${tag} was moved: it named ${before} before`);
      repository.assertOnBranch(read('DEFAULT_BRANCH'));
      const faults = findVersionFaults(repository.folder, formatVersion(version));
      if (faults.length > 0) throw new Error(`this is not ${tag}: ${faults.join('; ')}`);
      return `${tag} is ${repository.head}, and all files say so`;
    }
    case 'publish': {
      const github = {
        apiUrl: read('GITHUB_API_URL'),
        repository: read('GITHUB_REPOSITORY'),
        token: read('GITHUB_TOKEN'),
      };
      const notes = readNotes(repository.folder);
      return publishRelease(github, { tag, commit: repository.head, notes });
    }
    case 'move-major': {
      const move = repository.moveMajorTag(version);
      if (move.is === 'left') return `${move.tag} stays at ${move.at}, which is newer`;
      return move.is === 'moved' ? `${move.tag} is ${move.commit} now` : `${move.tag} is ${tag}`;
    }
    default:
      throw new Error('usage: release.ts check | publish | move-major');
  }
}

try {
  console.log(await run(process.argv[2]));
} catch (error) {
  // A command to the runner ends with its line.
  const message = describeError(error).replaceAll('\n', '%0A');
  console.error(`::error::${message}`);
  process.exitCode = 1;
}
