/** Generated sections of a page, between `<!-- name -->` and `<!-- /name -->`. Pure. */

/** Replaces what is between the two marks of a section. Throws if the page doesn't have both. */
export function replaceSection(page: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = page.indexOf(start);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the page has no section ${start} … ${end}`);
  return `${page.slice(0, from)}${start}\n\n${content.trim()}\n\n${page.slice(to)}`;
}
