import { holder } from './set-up.ts';

/** jest's globalTeardown of the S3 suites. */
export default async function tearDown(): Promise<void> {
  await holder.startedS3Servers?.stop();
}
