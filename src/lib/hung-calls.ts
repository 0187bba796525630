/**
 * Calls of the file system that were given up while the kernel still holds them, as on a network disk
 * whose server is gone. Each blocks one of the few threads that Node has for files, and none can be
 * cancelled. Node waits for these threads before it exits, so a process with such a call never ends.
 */
const hungCalls = new Set<{ disk: string }>();

/** Notes a call that nobody waits for any more, until it returns; it may have done so already. */
export function giveUpOn(call: Promise<unknown>, disk: string): void {
  const hung = { disk };
  const settle = (): void => {
    hungCalls.delete(hung);
  };
  hungCalls.add(hung);
  call.then(settle, settle);
}

/** Whether a call to that disk was given up and has not returned. */
export function isHung(disk: string): boolean {
  return [...hungCalls].some((hung) => hung.disk === disk);
}

/**
 * The last statement of a process that may have given up on calls: ends it with its exit code. Does
 * nothing where no call hangs: the process then ends by itself.
 */
export function leaveHungCalls(): void {
  if (hungCalls.size === 0) return;
  const exitCode = Number(process.exitCode ?? 0);
  // A new program takes the place of this one, with no thread to wait for.
  if (process.platform !== 'win32')
    process.execve?.('/bin/sh', ['sh', '-c', `exit ${exitCode}`], {});
  process.exit(exitCode);
}
