import { debug, info, notice, warning } from '@actions/core';
import type { Log } from './log.ts';

/** The log of a workflow step; notices and warnings become annotations of the run. */
export const actionsLog: Log = { debug, info, notice, warning };
