/** Tags of a clone and of its remote. */
import { execFileSync } from 'node:child_process';
import { compareVersions, majorTagOf, parseReleaseTag, type Version } from './version.ts';

const REMOTE = 'origin';

interface RemoteTag {
  /** The ref's own object: for an annotated tag, the tag. */
  oid: string;
  commit: string;
}

export type Move =
  | { is: 'moved'; tag: string; commit: string }
  | { is: 'there already'; tag: string }
  /** The major tag is at a newer release: this one fixes an older version. */
  | { is: 'left'; tag: string; at: string };

export class Repository {
  readonly folder: string;

  /** A clone with full history, checked out at the commit to release. */
  constructor(folder: string) {
    this.folder = folder;
  }

  get head(): string {
    return this.#git('rev-parse', 'HEAD^{commit}');
  }

  /** Throws unless the remote's tag names the checked-out commit. */
  assertTagged(tag: string): void {
    const found = this.#remoteTags().get(tag)?.commit;
    if (found === undefined) throw new Error(`${REMOTE} has no tag ${tag}`);
    if (found !== this.head) {
      throw new Error(`${tag} was moved: it names ${found}, and this is ${this.head}`);
    }
  }

  /** Throws unless the checked-out commit is in the history of the remote's branch. */
  assertOnBranch(branch: string): void {
    const ref = `refs/remotes/${REMOTE}/${branch}`;
    this.#git('fetch', '--quiet', '--no-tags', REMOTE, `+refs/heads/${branch}:${ref}`);
    const missing = this.#git('rev-list', '--count', 'HEAD', '--not', ref);
    if (missing !== '0') throw new Error(`${this.head} is not on ${branch}`);
  }

  /**
   * Moves the major tag to the checked-out commit, unless it names a newer release. Throws if another job
   * moves the tag at the same time, or if it names a commit that isn't a release.
   */
  moveMajorTag(version: Version): Move {
    const tags = this.#remoteTags();
    const tag = majorTagOf(version);
    const current = tags.get(tag);
    const commit = this.head;
    if (current?.commit === commit) return { is: 'there already', tag };
    if (current !== undefined) {
      const at = findNewest(tags, current.commit, version.major);
      if (at === undefined) {
        throw new Error(`${tag} names ${current.commit}, which is no release: see to it by hand`);
      }
      if (compareVersions(at.version, version) > 0) return { is: 'left', tag, at: at.tag };
    }
    const lease = `--force-with-lease=refs/tags/${tag}:${current?.oid ?? ''}`;
    this.#git('push', '--quiet', lease, REMOTE, `${commit}:refs/tags/${tag}`);
    return { is: 'moved', tag, commit };
  }

  #remoteTags(): Map<string, RemoteTag> {
    const tags = new Map<string, RemoteTag>();
    // An annotated tag's line is followed by its peeled one, `<commit> refs/tags/v1.2.3^{}`.
    for (const line of this.#git('ls-remote', '--tags', REMOTE).split('\n')) {
      const [, oid = '', name = '', peeled] =
        /^(\S+)\trefs\/tags\/(.+?)(\^\{\})?$/.exec(line) ?? [];
      const known = peeled === undefined ? undefined : tags.get(name);
      if (name !== '') tags.set(name, { oid: known?.oid ?? oid, commit: oid });
    }
    return tags;
  }

  #git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.folder, encoding: 'utf8' }).trimEnd();
  }
}

/** The newest release of a major version that names a commit. */
function findNewest(tags: ReadonlyMap<string, RemoteTag>, commit: string, major: number) {
  return [...tags]
    .filter(([, each]) => each.commit === commit)
    .map(([tag]) => ({ tag, version: parseReleaseTag(tag) }))
    .filter((each): each is { tag: string; version: Version } => each.version?.major === major)
    .sort((one, other) => compareVersions(one.version, other.version))
    .at(-1);
}
