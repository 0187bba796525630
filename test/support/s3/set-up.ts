import { handOver, startS3Servers, type StartedS3Servers } from './servers.ts';

/** What jest has its globalTeardown find again. */
export const holder = globalThis as { startedS3Servers?: StartedS3Servers };

/** jest's globalSetup of the S3 suites: the servers are started once, for all of them. */
export default async function setUp(): Promise<void> {
  const started = await startS3Servers();
  holder.startedS3Servers = started;
  handOver(started.servers);
}
