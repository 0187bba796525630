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
function createActionsLog(): Log {
  /** Of a group that has not shown yet. */
  let pending: string | undefined;
  let isOpen = false;
  let timer: NodeJS.Timeout | undefined;
  const show = () => {
    if (pending === undefined) return;
    startGroup(toLogText(pending));
    pending = undefined;
    isOpen = true;
  };
  const shown = (write: (text: string) => void) => (message: string) => {
    show();
    write(toLogText(message));
  };
  const close = () => {
    clearTimeout(timer);
    pending = undefined;
    if (isOpen) endGroup();
    isOpen = false;
  };
  return {
    debug: (message) => {
      // The runner hides these lines otherwise.
      if (isDebug()) show();
      debug(toLogText(message));
    },
    info: shown(info),
    notice: shown(notice),
    warning: shown(warning),
    group: (title) => {
      close();
      pending = title;
      timer = setTimeout(show, PROGRESS_INTERVAL_MS).unref();
    },
    endGroup: close,
  };
}

export const actionsLog = createActionsLog();

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
