/** Fenced blocks of YAML in a page of Markdown. Pure. */

export interface Block {
  /** The page's line on which the block's content starts, from 1. */
  line: number;
  content: string;
  /** Whether the page marks the block as not a workflow. */
  isSkipped: boolean;
}

export const SKIP_MARK = '<!-- not a workflow -->';

/**
 * All blocks whose language is yaml or yml. The mark to skip one is the last non-empty line before its fence.
 * Throws SyntaxError for a fence that is never closed.
 */
export function findYamlBlocks(markdown: string): Block[] {
  const lines = markdown.split(/\r?\n/);
  const blocks: Block[] = [];
  for (let index = 0; index < lines.length; index += 1) {
    const opening = /^(\s*)(`{3,}|~{3,})\s*(\S*)/.exec(lines[index] ?? '');
    if (opening === null) continue;
    const [, indent = '', fence = '', language = ''] = opening;
    const end = findEnd(lines, index + 1, fence);
    if (end < 0)
      throw new SyntaxError(`the block that starts on line ${index + 1} is never closed`);
    if (/^ya?ml$/i.test(language)) {
      const content = lines.slice(index + 1, end).map((line) => unindent(line, indent.length));
      const isSkipped = findLastText(lines.slice(0, index)) === SKIP_MARK;
      blocks.push({ line: index + 2, content: `${content.join('\n')}\n`, isSkipped });
    }
    index = end;
  }
  return blocks;
}

/** A fence is closed by one of the same kind that is at least as long. */
function findEnd(lines: readonly string[], from: number, fence: string): number {
  const isEnd = (line: string) => {
    const text = line.trim();
    return text.startsWith(fence) && text === fence.charAt(0).repeat(text.length);
  };
  return lines.findIndex((line, index) => index >= from && isEnd(line));
}

/** A block in a list has the list's indentation. */
function unindent(line: string, columns: number): string {
  return line.slice(Math.min(columns, line.length - line.trimStart().length));
}

function findLastText(lines: readonly string[]): string | undefined {
  return lines.findLast((line) => line.trim() !== '')?.trim();
}
