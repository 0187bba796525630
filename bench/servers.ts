/** The servers of servers-process.ts, as seen from here. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServerCalls } from './servers-process.ts';

export class Servers {
  readonly #child: ChildProcess;
  #calls = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Serves repositories, their paths by `owner/name`. */
  static async start(repositories: Readonly<Record<string, string>>): Promise<Servers> {
    const script = fileURLToPath(new URL('servers-process.ts', import.meta.url));
    const child = fork(script, [JSON.stringify(repositories)]);
    await once(child, 'message');
    return new Servers(child);
  }

  async ask<Call extends keyof ServerCalls>(
    call: Call,
  ): Promise<Awaited<ReturnType<ServerCalls[Call]>>> {
    this.#calls += 1;
    const id = this.#calls;
    this.#child.send({ id, call });
    for (;;) {
      const [answer] = (await once(this.#child, 'message')) as [{ id: number; result: unknown }];
      if (answer.id === id) return answer.result as Awaited<ReturnType<ServerCalls[Call]>>;
    }
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.disconnect();
    await ended;
  }
}
