/**
 * The keys of the machine's git configuration that apply to a mirror: those that say how upstream is reached. They are
 * read as git reads them (files, includes, GIT_CONFIG_GLOBAL, GIT_CONFIG_COUNT), which executes nothing (git fact 11),
 * and are passed on by environment.
 *
 * Not included are keys that name another upstream (url.*.insteadOf, git fact 12), run a program (credential.helper,
 * core.sshCommand, core.gitProxy), write a file (http.saveCookies), end a slow transfer (http.lowSpeedLimit), or follow
 * redirects with a token (git fact 14).
 */
import type { Configuration } from './environment.ts';

/** Names below `http.` and `http.<url>.`, in lower case. */
const CONNECTION_KEYS = new Set([
  // Which proxy, and how it knows this machine.
  ...['proxy', 'proxyauthmethod', 'proxysslcert', 'proxysslkey', 'proxysslcertpasswordprotected'],
  'proxysslcainfo',
  // Whom TLS trusts, and how it is spoken.
  ...['sslverify', 'sslcainfo', 'sslcapath', 'sslbackend', 'sslversion', 'sslcipherlist'],
  ...['pinnedpubkey', 'schannelcheckrevoke', 'schannelusesslcainfo', 'ssltry'],
  // A client certificate.
  ...['sslcert', 'sslkey', 'sslcertpasswordprotected', 'sslcerttype', 'sslkeytype'],
  'sslautoclientcert',
  // Gateways in front of a server want a cookie, a header, a user agent, or Kerberos.
  ...['cookiefile', 'extraheader', 'useragent', 'emptyauth', 'delegation'],
  // How HTTP is spoken: workarounds for proxies that break it.
  ...['version', 'postbuffer', 'curloptresolve', 'noepsv'],
  ...['keepaliveidle', 'keepaliveinterval', 'keepalivecount'],
]);

/** The keys to pass on, from the output of `git config --list -z`, in its order. Pure. */
export function pickConnection(listing: string): Configuration {
  return parseListing(listing).filter(([key]) => {
    const name = /^http\.(?:.*\.)?([^.]+)$/s.exec(key)?.[1];
    return name !== undefined && CONNECTION_KEYS.has(name);
  });
}

/** The keys that rewrite this URL: git would reach another upstream by them. Pure. */
export function findRewrites(listing: string, url: string): string[] {
  return parseListing(listing)
    .filter(([key, value]) => /^url\..*\.insteadof$/s.test(key) && url.startsWith(value))
    .map(([key]) => key);
}

function parseListing(listing: string): [key: string, value: string][] {
  const entries = listing.split('\0').filter((entry) => entry !== '');
  return entries.map((entry) => {
    const end = entry.indexOf('\n');
    // A key without a value is a boolean that is true.
    return end < 0 ? [entry, 'true'] : [entry.slice(0, end), entry.slice(end + 1)];
  });
}
