/** How long it takes until a save succeeds, counted in jobs. */

/** More jobs than this are not asked to save. */
const PATIENCE = 3;

export interface UntilSaved {
  /** Jobs that ran until the snapshot was there, 0 if it was there already, Infinity if it never was. */
  jobs: number;
  /** What each of them said. */
  verdicts: string[];
}

/** `post` runs one more job and returns its verdict. */
export async function countUntilSaved(
  post: () => Promise<string>,
  isSaved: () => Promise<boolean>,
): Promise<UntilSaved> {
  const verdicts: string[] = [];
  while (!(await isSaved()) && verdicts.length < PATIENCE) verdicts.push(await post());
  return { jobs: (await isSaved()) ? verdicts.length : Infinity, verdicts };
}
