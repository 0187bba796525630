import { existsSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';

const TABLE = '/proc/net/tcp';
const ESTABLISHED = '01';

/**
 * Whether the other end of a connection on this machine has closed it. A socket that nobody reads
 * does not tell: what says so waits behind the bytes that were not read. Only Linux knows, and only
 * of IPv4; elsewhere nobody has ever gone.
 */
export function hasHungUp({ localPort, remotePort }: Socket): boolean {
  if (localPort === undefined || remotePort === undefined || !existsSync(TABLE)) return false;
  const connections = readFileSync(TABLE, 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const stateOf = (from: number, to: number): string | undefined =>
    connections.find(([, here, there]) => portOf(here) === from && portOf(there) === to)?.[3];
  // Ours is gone after a reset; theirs says that they have closed, if it is in the table.
  const ours = stateOf(localPort, remotePort);
  const theirs = stateOf(remotePort, localPort) ?? ESTABLISHED;
  return ours !== ESTABLISHED || theirs !== ESTABLISHED;
}

function portOf(address = ''): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16);
}
