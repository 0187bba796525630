/** Where everything below `action/` reports what it does; the surface decides where that goes. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  /** Worth a person's attention although nothing is wrong. */
  notice(message: string): void;
  /** Something failed and the job continues without it. */
  warning(message: string): void;
  /** Starts a group of lines. Groups do not nest: an open one ends. */
  group(title: string): void;
  /** Ends the open group, if any. */
  endGroup(): void;
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  notice: () => undefined,
  warning: () => undefined,
  group: () => undefined,
  endGroup: () => undefined,
};

/** A log whose lines begin with a name, for work that runs in parallel with other work: groups are left out. */
export function labelLog(log: Log, name: string): Log {
  const labelled = (level: 'debug' | 'info' | 'notice' | 'warning') => (message: string) => {
    log[level](`${name}: ${message}`);
  };
  return {
    ...silentLog,
    debug: labelled('debug'),
    info: labelled('info'),
    notice: labelled('notice'),
    warning: labelled('warning'),
  };
}
