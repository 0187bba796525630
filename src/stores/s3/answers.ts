/**
 * Looks at every answer of the server before the SDK reads it: its time, and whether it comes from an S3 server. The SDK
 * would treat a web page as an empty list.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { NotS3Error } from './errors.ts';

/** Called with the time of each answer by the server's clock; NaN if the answer has none. */
export type AnswerListener = (dateMs: number) => void;

interface Answer {
  statusCode: number;
  headers: Record<string, string>;
  body?: Readable;
}

const listeners = new AsyncLocalStorage<AnswerListener>();

/** Runs work, and reports the answers to its requests to a listener. */
export function listen<T>(listener: AnswerListener, work: () => Promise<T>): Promise<T> {
  return listeners.run(listener, work);
}

/** Makes a client report its answers to listeners, and throw NotS3Error for a web page. */
export function watchAnswers(client: S3Client): S3Client {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const answer = result.response as Answer;
      listeners.getStore()?.(Date.parse(answer.headers['date'] ?? ''));
      if (!isWebPage(answer)) return result;
      const { hostname = '' } = args.request as { hostname?: string };
      answer.body?.destroy();
      const page = `a web page (text/html, status ${String(answer.statusCode)})`;
      throw new NotS3Error(`${hostname} answers with ${page}, not as an S3 server`);
    },
    // Within retries and within what reads the body.
    { step: 'deserialize', priority: 'low', name: 'watchAnswers', override: true },
  );
  return client;
}

/**
 * A gateway's page for a failure of the server (5xx) is one too, but that failure is to be retried. Some S3
 * servers label empty answers as HTML, and Swift adds a page to some that it has accepted.
 */
function isWebPage({ statusCode, headers }: Answer): boolean {
  if (!/^text\/html\b/i.test(headers['content-type'] ?? '')) return false;
  const isEmpty = statusCode === 204 || headers['content-length'] === '0';
  const isOfS3 = Object.keys(headers).some((name) => name.startsWith('x-amz-'));
  return !isEmpty && !isOfS3 && statusCode < 500;
}
