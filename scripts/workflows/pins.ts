import type { Problem } from './problem.ts';

/** A tag can be moved to other code, a commit can't. The comment names the version for people. */
const PINNED = /^(?:\.\/\S*|\S+@[0-9a-f]{40}\s+# v\d\S*)$/;

/** Actions that a workflow of this repository doesn't pin to a commit. */
export function findUnpinned(text: string): Problem[] {
  return text.split('\n').flatMap((line, index) => {
    const used = /^\s*(?:- )?uses:\s*(.*?)\s*$/.exec(line)?.[1];
    if (used === undefined || PINNED.test(used)) return [];
    return [
      { line: index + 1, message: `${used} is not pinned as owner/name@<commit> # v<version>` },
    ];
  });
}
