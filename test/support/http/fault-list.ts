/** What goes wrong at a server of ours, as tests ask for it. */

export interface ActiveFault {
  /** Requests it was applied to. */
  readonly applied: number;
  remove(): void;
}

/** Faults in the order they were asked for; `times` is how many requests one is applied to. */
export class FaultList<Fault extends { times?: number }> {
  readonly #entries: { fault: Fault; applied: number }[] = [];

  add(fault: Fault): ActiveFault {
    const entry = { fault, applied: 0 };
    this.#entries.push(entry);
    return {
      get applied() {
        return entry.applied;
      },
      remove: () => {
        const index = this.#entries.indexOf(entry);
        if (index >= 0) this.#entries.splice(index, 1);
      },
    };
  }

  clear(): void {
    this.#entries.length = 0;
  }

  /** The first fault that matches, which is one application of it. */
  take(matches: (fault: Fault) => boolean): Fault | undefined {
    const entry = this.#entries.find(
      ({ fault, applied }) => applied < (fault.times ?? Infinity) && matches(fault),
    );
    if (entry === undefined) return undefined;
    entry.applied++;
    return entry.fault;
  }
}
