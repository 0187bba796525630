/**
 * Text for the job summary, which GitHub takes for Markdown with HTML in it. Messages hold what
 * upstream and stores sent, and names what somebody pushed: none of it may be markup. Pure.
 */

/** More of one message helps nobody, and a summary has 1 MiB. */
const LONGEST_TEXT = 2_000;

/** An input, a value or a command in backticks, as our messages have them; these letters are no markup. */
const MARKED_CODE = /`([a-z0-9][a-z0-9 -]*)`/;

/** Any text on one line, as text: in a paragraph, a list item, a table's cell or a link's label. */
export function toMarkdown(text: string): string {
  // Every other part is what the parentheses caught.
  return toLine(text)
    .split(MARKED_CODE)
    .map((part, index) => (index % 2 === 0 ? escape(part) : `<code>${part}</code>`))
    .join('');
}

/** The same as code: paths, URLs and ids. */
export function toCode(text: string): string {
  return `<code>${escape(toLine(text))}</code>`;
}

function toLine(text: string): string {
  const cut = text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
  // Line ends begin blocks; what has no width hides or turns around what follows.
  return cut.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
}

/**
 * What means something to Markdown, to GitHub's additions to it (addresses, emoji, formulas) or to
 * HTML becomes a character reference, which is text to all of them. A backslash would do for
 * Markdown alone.
 */
function escape(text: string): string {
  return (
    text
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replace(/["'`*_~[\]|\\$#!]/g, refer)
      // `https:` and `:name:` mean something, `cause: ` does not.
      .replace(/:(?! |$)/g, refer)
      .replace(/(?<=\bwww)\./gi, refer)
      // Names and mail addresses are looked for in the text that comes of it all.
      .replaceAll('@', '<span>@</span>')
      // What begins a block does it only there: lists, headings, rules.
      .replace(/^[-+\d]/, refer)
  );
}

function refer(character: string): string {
  return `&#${String(character.charCodeAt(0))};`;
}
