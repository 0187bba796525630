/** Releases of a repository on GitHub. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface GitHub {
  /** `https://api.github.com` */
  apiUrl: string;
  /** owner/name */
  repository: string;
  token: string;
}

interface Release {
  html_url: string;
  body: string | null;
  draft: boolean;
  immutable?: boolean;
}

/** How often, and at what interval, GitHub is asked whether a new release is immutable. */
const LOOKS = 5;
const BETWEEN_LOOKS_MS = 2_000;

/**
 * Publishes a release of an existing tag and returns its address. An existing release of the same commit is
 * accepted, so that a job can be repeated. Throws unless GitHub reports that the release and its tag are
 * immutable.
 */
export async function publishRelease(
  github: GitHub,
  { tag, commit, notes }: { tag: string; commit: string; notes: string },
  betweenLooksMs = BETWEEN_LOOKS_MS,
): Promise<string> {
  const mark = `Commit: ${commit}`;
  const existing = await findRelease(github, tag);
  if (existing === undefined) {
    await call(github, '', {
      tag_name: tag,
      name: tag,
      body: `${notes}\n\n${mark}\n`,
      // By version, not by date: a fix for an older version is not the latest.
      make_latest: 'legacy',
    });
  } else if (existing.draft || !(existing.body ?? '').includes(mark)) {
    throw new Error(
      `there is a release ${tag} already, and not of ${commit}: ${existing.html_url}`,
    );
  }
  for (let looks = 1; looks <= LOOKS; looks += 1) {
    if (looks > 1) await sleep(betweenLooksMs);
    const release = await findRelease(github, tag);
    if (release?.immutable === true) return release.html_url;
  }
  throw new Error(
    `release ${tag} can still be changed: turn on immutable releases in the settings of ` +
      `${github.repository}, delete this release (not its tag), and run this job again`,
  );
}

/** The published release of a tag, or undefined. */
async function findRelease(github: GitHub, tag: string): Promise<Release | undefined> {
  return call(github, `/tags/${encodeURIComponent(tag)}`);
}

/** Undefined for 404; throws for every other failure. */
async function call(github: GitHub, path: string, body?: object): Promise<Release | undefined> {
  const url = `${github.apiUrl}/repos/${github.repository}/releases${path}`;
  const response = await fetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      Accept: 'application/vnd.github+json',
      Authorization: `Bearer ${github.token}`,
      'X-GitHub-Api-Version': '2022-11-28',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (response.status === 404 && body === undefined) return undefined;
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text.slice(0, 300)}`);
  return JSON.parse(text) as Release;
}
