/** Versions and their tags: `v1.2.3` for a release, `v1` for the newest of that major version. Pure. */

export interface Version {
  major: number;
  minor: number;
  patch: number;
}

/** Undefined for anything but `v1.2.3`: no pre-releases, no leading zeros. */
export function parseReleaseTag(tag: string): Version | undefined {
  const match = /^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/.exec(tag);
  if (match === null) return undefined;
  const [major = 0, minor = 0, patch = 0] = match.slice(1).map(Number);
  return { major, minor, patch };
}

export function formatVersion({ major, minor, patch }: Version): string {
  return `${major}.${minor}.${patch}`;
}

export function majorTagOf({ major }: Version): string {
  return `v${major}`;
}

/** Negative if the first is older, positive if it is newer. */
export function compareVersions(one: Version, other: Version): number {
  return one.major - other.major || one.minor - other.minor || one.patch - other.patch;
}
