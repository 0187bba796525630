/** Where everything below the entries says what it does; the entries decide where it goes. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  /** Worth a person's attention, nothing is wrong. */
  notice(message: string): void;
  /** Something failed and the job goes on without it. */
  warning(message: string): void;
  /** What is said from here on belongs together. Groups do not nest: one that is open ends. */
  group(title: string): void;
  /** Ends the group, if one is open. */
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
