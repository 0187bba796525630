/** Where a submodule is: its URL as git resolves it, and as the address of a mirror's upstream. Pure. */

/** The only server that submodules are mirrored from: the job's credentials are for no other. */
export interface Server {
  /** `https://host`, or `git@host` over SSH. */
  origin: string;
  /** Whether it serves `owner/name.git` as `owner/name`, too. */
  isSuffixOptional: boolean;
}

/** The scheme, host and port of an HTTP URL, or the user and host of one like `git@host:owner/name`. */
export function originOf(url: string): string | undefined {
  return /^https?:\/\/[^/?#@\\]+(?=\/|$)/.exec(url)?.[0] ?? /^([^/:@]+@[^/:]+):/.exec(url)?.[1];
}

/**
 * The URL that `git submodule init` writes: one that begins with `./` or `../` is relative to the URL of the
 * repository above. Undefined where it leads out of that one's server.
 */
export function resolveUrl(base: string, url: string): string | undefined {
  const [steps] = /^(?:\.\.?\/)*/.exec(url) ?? [''];
  if (steps === '') return url;
  const origin = originOf(base);
  if (origin === undefined) return undefined;
  const separator = base[origin.length] ?? '/';
  const segments = base
    .slice(origin.length + 1)
    .replace(/\/$/, '')
    .split('/');
  for (const step of steps.split('/')) {
    if (step === '..' && segments.pop() === undefined) return undefined;
  }
  const rest = url.slice(steps.length).replace(/\/$/, '');
  return origin + separator + [...segments, rest].join('/');
}

/** The address of a mirror's upstream, or why there is none: a clause that follows "it". */
export function locateUpstream(url: string, server: Server): { url: string } | { reason: string } {
  const { origin, isSuffixOptional } = server;
  const isHttp = /^https?:/.test(origin);
  const path = stripOrigin(url, origin);
  if (path === undefined) return { reason: `is not on ${origin}` };
  const segments = path.replace(/\/+$/, '').split('/');
  if (!segments.every(isPlainName))
    return { reason: 'has a URL that is no plain path on its server' };
  const full = segments.join('/');
  const short = full.replace(/\.git$/i, '');
  // As the address of the job's own repository, so that both share snapshots.
  if (!isHttp) return { url: `${origin}:${short}.git` };
  return { url: `${origin}/${isSuffixOptional ? short : full}` };
}

/** Whether it is safe as a segment of a repository's path, on a server and on a command line. */
export function isPlainName(segment: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(segment) && !/^(?:-|\.{1,2}$|\.git$)/i.test(segment);
}

/** Over HTTP, actions/checkout also fetches `git@host:owner/name` from that server. */
function stripOrigin(url: string, origin: string): string | undefined {
  if (!/^https?:/.test(origin)) {
    return url.startsWith(`${origin}:`) ? url.slice(origin.length + 1) : undefined;
  }
  const ssh = `git@${new URL(origin).hostname}:`;
  if (url.startsWith(ssh)) return url.slice(ssh.length);
  const own = originOf(url);
  if (own === undefined || !URL.canParse(own)) return undefined;
  return new URL(own).origin === origin ? url.slice(own.length + 1) : undefined;
}
