/** The log of a workflow step. */
import { debug, endGroup, info, isDebug, notice, startGroup, warning } from '@actions/core';
import type { Log } from '../lib/log.ts';
import { PROGRESS_INTERVAL_MS } from '../lib/progress.ts';

/**
 * Groups are folded; notices and warnings are annotations of the run, in a group or out of it.
 *
 * A group is written with its first line, so that no group is empty. If work takes longer, its title is written
 * anyway, for people who watch.
 */
class ActionsLog implements Log {
  /** Of a group that has not shown yet. */
  #title: string | undefined;
  #isOpen = false;
  #timer: NodeJS.Timeout | undefined;

  debug(message: string): void {
    // The runner hides these lines otherwise.
    if (isDebug()) this.#show();
    debug(toLogText(message));
  }

  info(message: string): void {
    this.#show();
    info(toLogText(message));
  }

  notice(message: string): void {
    this.#show();
    notice(toLogText(message));
  }

  warning(message: string): void {
    this.#show();
    warning(toLogText(message));
  }

  group(title: string): void {
    this.endGroup();
    this.#title = title;
    this.#timer = setTimeout(() => {
      this.#show();
    }, PROGRESS_INTERVAL_MS).unref();
  }

  endGroup(): void {
    clearTimeout(this.#timer);
    this.#title = undefined;
    if (this.#isOpen) endGroup();
    this.#isOpen = false;
  }

  #show(): void {
    if (this.#title === undefined) return;
    startGroup(toLogText(this.#title));
    this.#title = undefined;
    this.#isOpen = true;
  }
}

export const actionsLog: Log = new ActionsLog();

/**
 * Text as lines that are no commands to the runner: it takes `::` at the begin of a line for one,
 * and `##[` anywhere. Messages hold what upstream and stores sent.
 */
export function toLogText(text: string): string {
  return text
    .split(/\r\n|[\n\r\u0085\u2028\u2029]/)
    .map(disarm)
    .join('\n');
}

function disarm(line: string): string {
  return (
    line
      // eslint-disable-next-line no-control-regex -- a terminal's commands
      .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '')
      .replaceAll('##[', '## [')
      // The runner looks past spaces, and may look past whatever has no width.
      .replace(/^([^\p{L}\p{N}\p{P}\p{S}]*):(?=:)/u, '$1: ')
  );
}
