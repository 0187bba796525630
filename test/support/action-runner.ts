import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { evaluate, readActionDefinition, type ActionDefinition } from './action-definition.ts';
import { inherited } from './git.ts';
import { runProcess, type ProcessResult } from './processes.ts';
import { createFileCommands, type FileCommandValues } from './runner-commands.ts';
import { startStep, type RunningStep, type StepResult } from './running-step.ts';

export type { RunningStep, StepResult } from './running-step.ts';

export interface JobOptions {
  /** The machine: jobs of one machine share it. */
  root: string;
  /** One of the machine's runners; each has a work folder of its own. */
  runner?: string;
  /** The job's workspace, next to others of that runner; the repository's name by default. */
  workspace?: string;
  /** Where action.yml lies; this project by default. */
  actionPath?: string;
  /** `owner/name` of the workflow's repository. */
  repository?: string;
  serverUrl?: string;
  token?: string;
  /** As under `with:`. */
  inputs?: Record<string, string>;
  /** Added to what the runner gives every action. */
  environment?: Record<string, string>;
  home?: string;
  event?: { name: string; payload?: object };
  /** The branch or tag, full name. */
  ref?: string;
  sha?: string;
  runId?: string;
  runAttempt?: string;
  /** Name of the job in the workflow. */
  job?: string;
  /** More expressions of action.yml, by their text. */
  expressions?: Record<string, string>;
  /** Called with every line while the step runs. */
  onLine?: (line: string) => void;
}

const projectPath = fileURLToPath(new URL('../..', import.meta.url));

export function createJob(options: JobOptions): Job {
  return new Job(options);
}

/** One job on a runner: a fresh temporary folder and file commands, main, perhaps more, post. */
export class Job {
  readonly workspace: string;
  readonly runnerWorkspace: string;
  readonly temp: string;
  readonly home: string;
  readonly definition: ActionDefinition;
  readonly #options: JobOptions;
  readonly #actionPath: string;
  readonly #inputs: Record<string, string> = {};
  readonly #environment: Record<string, string>;
  #state: Record<string, string> = {};
  #running: RunningStep | undefined;

  constructor(options: JobOptions) {
    this.#options = options;
    this.#actionPath = options.actionPath ?? projectPath;
    this.definition = readActionDefinition(this.#actionPath);
    const repository = options.repository ?? 'owner/name';
    const name = repository.split('/')[1] ?? repository;
    const work = join(options.root, options.runner ?? 'runner', '_work');
    this.runnerWorkspace = join(work, name);
    this.workspace = join(this.runnerWorkspace, options.workspace ?? name);
    this.temp = join(work, '_temp', randomUUID());
    this.home = options.home ?? join(options.root, 'home');
    for (const folder of [this.workspace, join(this.temp, '_runner_file_commands'), this.home]) {
      mkdirSync(folder, { recursive: true });
    }
    this.#environment = {
      ...inherited(['PATH', 'SystemRoot', 'ComSpec', 'PATHEXT', 'TEMP', 'TMP', 'USERPROFILE']),
      ...this.#context(repository),
      RUNNER_TOOL_CACHE: join(work, '_tool'),
      ...options.environment,
    };
    this.setInputs(options.inputs ?? {});
  }

  /** What `with:` says from now on; the runner evaluates inputs again for post. */
  setInputs(inputs: Record<string, string>): void {
    for (const [name, value] of Object.entries(inputs)) {
      if (!this.definition.inputs.has(name)) throw new Error(`action.yml has no input ${name}`);
      this.#inputs[name] = value;
    }
  }

  /** What a step of the job wrote to GITHUB_ENV. */
  setEnvironment(environment: Record<string, string>): void {
    Object.assign(this.#environment, environment);
  }

  async main(): Promise<StepResult> {
    return this.startMain().finished;
  }

  async post(): Promise<StepResult> {
    return this.startPost().finished;
  }

  startMain(): RunningStep {
    return this.#start(this.definition.main);
  }

  startPost(): RunningStep {
    if (this.definition.post === undefined) throw new Error('action.yml has no runs.post');
    return this.#start(this.definition.post);
  }

  /** A step in between: a command in the workspace, with what the job has exported so far. */
  async between(
    command: string,
    commandArguments: readonly string[],
    timeoutMs = 60_000,
  ): Promise<ProcessResult> {
    const environment = this.#environment;
    return runProcess(command, commandArguments, { cwd: this.workspace, environment, timeoutMs });
  }

  /** Of the step that runs now. */
  async cancel(waits?: { interruptMs: number; terminateMs: number }): Promise<StepResult> {
    return this.#current().cancel(waits);
  }

  kill(): void {
    this.#current().kill();
  }

  #current(): RunningStep {
    if (this.#running === undefined) throw new Error('no step runs');
    return this.#running;
  }

  #start(entry: string): RunningStep {
    const step = startStep({
      script: join(this.#actionPath, entry),
      cwd: this.workspace,
      environment: { ...this.#environment, ...this.#stepEnvironment() },
      files: createFileCommands(join(this.temp, '_runner_file_commands')),
      onLine: this.#options.onLine,
      onEnd: (told) => {
        this.#running = undefined;
        this.#learn(told);
      },
    });
    this.#running = step;
    return step;
  }

  #learn(told: FileCommandValues): void {
    this.#state = { ...this.#state, ...told.state };
    Object.assign(this.#environment, told.environment);
    if (told.paths.length > 0) {
      this.#environment['PATH'] = [...told.paths.reverse(), this.#environment['PATH']].join(
        delimiter,
      );
    }
  }

  #stepEnvironment(): Record<string, string> {
    const environment: Record<string, string> = {};
    for (const [name, text] of this.definition.inputs) {
      const variable = `INPUT_${name.replaceAll(' ', '_').toUpperCase()}`;
      environment[variable] = this.#inputs[name] ?? evaluate(text, this.#expressions());
    }
    for (const [name, value] of Object.entries(this.#state)) environment[`STATE_${name}`] = value;
    return environment;
  }

  #expressions(): Record<string, string> {
    const github = (name: string): string => this.#environment[`GITHUB_${name}`] ?? '';
    return {
      'github.repository': github('REPOSITORY'),
      'github.token': this.#options.token ?? '',
      'github.server_url': github('SERVER_URL'),
      'github.workspace': this.workspace,
      'github.run_id': github('RUN_ID'),
      'github.run_attempt': github('RUN_ATTEMPT'),
      'github.event_name': github('EVENT_NAME'),
      'github.ref': github('REF'),
      'github.sha': github('SHA'),
      'runner.temp': this.temp,
      'strategy.job-total': '1',
      'job.status': 'success',
      ...this.#options.expressions,
    };
  }

  #context(repository: string): Record<string, string> {
    const { event = { name: 'push' }, ref = 'refs/heads/main' } = this.#options;
    const eventPath = join(this.temp, '_github_workflow_event.json');
    writeFileSync(eventPath, JSON.stringify(event.payload ?? {}));
    const platforms: Record<string, string> = { win32: 'Windows', darwin: 'macOS' };
    return {
      CI: 'true',
      HOME: this.home,
      GITHUB_ACTION: '__mirror',
      GITHUB_ACTION_PATH: this.#actionPath,
      GITHUB_ACTIONS: 'true',
      GITHUB_ACTOR: 'ada',
      GITHUB_API_URL: 'http://127.0.0.1:9',
      GITHUB_EVENT_NAME: event.name,
      GITHUB_EVENT_PATH: eventPath,
      GITHUB_JOB: this.#options.job ?? 'build',
      GITHUB_REF: ref,
      GITHUB_REF_NAME: ref.replace(/^refs\/(heads|tags)\//, ''),
      GITHUB_REF_TYPE: ref.startsWith('refs/tags/') ? 'tag' : 'branch',
      GITHUB_REPOSITORY: repository,
      GITHUB_REPOSITORY_OWNER: repository.split('/')[0] ?? '',
      GITHUB_RUN_ATTEMPT: this.#options.runAttempt ?? '1',
      GITHUB_RUN_ID: this.#options.runId ?? '1000',
      GITHUB_RUN_NUMBER: '1',
      GITHUB_SERVER_URL: this.#options.serverUrl ?? 'https://github.com',
      GITHUB_SHA: this.#options.sha ?? '0'.repeat(40),
      GITHUB_WORKFLOW: 'ci',
      GITHUB_WORKSPACE: this.workspace,
      RUNNER_ARCH: process.arch.toUpperCase(),
      RUNNER_ENVIRONMENT: 'self-hosted',
      RUNNER_NAME: this.#options.runner ?? 'runner',
      RUNNER_OS: platforms[process.platform] ?? 'Linux',
      RUNNER_TEMP: this.temp,
      RUNNER_WORKSPACE: this.runnerWorkspace,
    };
  }
}
