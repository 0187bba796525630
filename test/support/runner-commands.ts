import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What an action tells its runner: workflow commands in its output, and file commands. */

export interface Annotation {
  level: 'error' | 'warning' | 'notice';
  message: string;
  title: string | undefined;
}

export interface LogReading {
  annotations: Annotation[];
  /** Values given to ::add-mask::. */
  masks: string[];
  /** Names of ::group::s. */
  groups: string[];
}

const commandPattern = /^::([\w-]+)(?:\s+(.*?))?::(.*)$/;

/** Reads the lines as the runner does; between stop-commands and its token nothing is a command. */
export function readLog(lines: Iterable<string>): LogReading {
  const reading: LogReading = { annotations: [], masks: [], groups: [] };
  let resumeToken: string | undefined;
  for (const line of lines) {
    const [, command, properties = '', data = ''] = commandPattern.exec(line.trimStart()) ?? [];
    if (resumeToken !== undefined) {
      if (command === resumeToken) resumeToken = undefined;
      continue;
    }
    const message = unescape(data);
    switch (command) {
      case 'error':
      case 'warning':
      case 'notice':
        reading.annotations.push({ level: command, message, title: property(properties, 'title') });
        break;
      case 'add-mask':
        reading.masks.push(message);
        break;
      case 'group':
        reading.groups.push(message);
        break;
      case 'stop-commands':
        resumeToken = message;
        break;
      case undefined:
      default:
    }
  }
  return reading;
}

export function isMaskCommand(line: string): boolean {
  return commandPattern.exec(line.trimStart())?.[1] === 'add-mask';
}

function property(properties: string, name: string): string | undefined {
  const found = properties.split(',').find((entry) => entry.trim().startsWith(`${name}=`));
  if (found === undefined) return undefined;
  return unescape(found.slice(found.indexOf('=') + 1))
    .replaceAll('%3A', ':')
    .replaceAll('%2C', ',');
}

function unescape(text: string): string {
  return text.replaceAll('%0D', '\r').replaceAll('%0A', '\n').replaceAll('%25', '%');
}

/** `name=value` lines and `name<<delimiter` blocks; what the runner rejects throws. */
export function parseFileCommand(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? '';
    if (line === '') continue;
    const equals = line.indexOf('=');
    const heredoc = line.indexOf('<<');
    if (equals >= 0 && (heredoc < 0 || equals < heredoc)) {
      values[line.slice(0, equals)] = line.slice(equals + 1);
      continue;
    }
    const delimiter = line.slice(heredoc + 2);
    const end = lines.indexOf(delimiter, index + 1);
    if (heredoc < 1 || delimiter === '' || end < 0) {
      throw new Error(`the runner rejects this file command: ${line}`);
    }
    values[line.slice(0, heredoc)] = lines.slice(index + 1, end).join('\n');
    index = end;
  }
  return values;
}

export interface FileCommandValues {
  outputs: Record<string, string>;
  state: Record<string, string>;
  environment: Record<string, string>;
  paths: string[];
  summary: string;
}

export interface FileCommands {
  /** The variables that name the files. */
  environment: Record<string, string>;
  read(): FileCommandValues;
}

/** The runner gives every step files of its own. */
export function createFileCommands(folder: string): FileCommands {
  const id = randomUUID();
  const names = {
    GITHUB_OUTPUT: 'set_output',
    GITHUB_STATE: 'save_state',
    GITHUB_ENV: 'set_env',
    GITHUB_PATH: 'add_path',
    GITHUB_STEP_SUMMARY: 'step_summary',
  };
  const environment: Record<string, string> = {};
  for (const [variable, name] of Object.entries(names)) {
    const file = join(folder, `${name}_${id}`);
    writeFileSync(file, '');
    environment[variable] = file;
  }
  const text = (variable: keyof typeof names): string =>
    readFileSync(environment[variable] ?? '', 'utf8');
  return {
    environment,
    read: () => ({
      outputs: parseFileCommand(text('GITHUB_OUTPUT')),
      state: parseFileCommand(text('GITHUB_STATE')),
      environment: parseFileCommand(text('GITHUB_ENV')),
      paths: text('GITHUB_PATH').split(/\r?\n/).filter(Boolean),
      summary: text('GITHUB_STEP_SUMMARY'),
    }),
  };
}
