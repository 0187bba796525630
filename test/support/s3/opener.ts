/**
 * A process that opens the store in a bucket as the action does, with its own environment:
 * `s3-opener.ts <an S3Place as JSON>`. Prints as JSON where the store is, and what became of a look
 * for a manifest.
 */
import { describeError } from '../../../src/lib/errors.ts';
import { openS3, type S3Place } from '../../../src/stores/s3/open.ts';

export interface OpenerReport {
  location?: string;
  outcome: string;
}

const place = JSON.parse(process.argv[2] ?? '') as S3Place;
const report: OpenerReport = { outcome: '' };
try {
  const { store } = await openS3(place, process.env);
  report.location = store.location;
  const found = await store.findManifest('key', { signal: AbortSignal.timeout(30_000) });
  report.outcome = found === undefined ? 'none' : `found ${String(found.number)}`;
} catch (error) {
  report.outcome = describeError(error);
}
process.stdout.write(JSON.stringify(report));
process.exit();
