/**
 * Tells a damaged archive from a machine that can unpack none: its `tar` may lack the options that the
 * toolkit uses (busybox), or the program that decompresses may be missing.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runChild } from '../../lib/process.ts';
import type { CacheFolder } from './folder.ts';
import type { CacheAnswer } from './protocol.ts';

const TIMEOUT_MS = 20_000;
/** How the toolkit shows the command that it runs. */
const EXTRACT = /^\[command\]"?(.*?)"? -xf \S+\/cache\.(tgz|tzst) (.*)$/;
const ARGUMENTS = /"([^"]*)"|(\S+)/g;

/** Archives of one empty file. */
const SOUND = {
  tgz: 'H4sIAAAAAAACA+3PMQqEQBAEwH3KfeBgRfE/Bh4IiqJr4O9dDBU08qKqpAd6YJh2mNL2/XV9G14Ts7qqjszOeZ2LMsYifGL4g3VJzZzPz+OY7vae+vNzAAAAAAAAAAAA8KId0BIX9AAoAAA=',
  tzst: 'KLUv/WQAJy0CAIQCZW1wdHktZmlsZQAwNjQ0ADAxMzAwMQAgMAAAdXN0YXIAMDByb290AAoApMbxAH4zDNUAIPz/TvjygXsAGBQAzCYwB2t3lxc=',
};

/**
 * Runs the command that has just failed with a sound archive instead. False also where that command is
 * not known: a sound snapshot must not be called damaged.
 */
export async function canUnpack(
  { lines }: CacheAnswer,
  { root, workspace }: CacheFolder,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<boolean> {
  const found = lines.findLast(({ text }) => EXTRACT.test(text));
  const [, program = '', format, rest = ''] = EXTRACT.exec(found?.text ?? '') ?? [];
  if (format !== 'tgz' && format !== 'tzst') return false;
  await writeFile(join(root, `sound.${format}`), Buffer.from(SOUND[format], 'base64'));
  const more = [...rest.matchAll(ARGUMENTS)].map(([, quoted, plain]) => quoted ?? plain ?? '');
  const options = { environment, workingDirectory: workspace, timeoutMs: TIMEOUT_MS, signal };
  const { exitCode } = await runChild([program, '-xf', `../sound.${format}`, ...more], options);
  return exitCode === 0;
}
