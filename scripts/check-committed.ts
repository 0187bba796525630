// Fails if one of the given paths is changed, deleted or not tracked.
import { execFileSync } from 'node:child_process';

const states = ['--modified', '--deleted', '--others', '--exclude-standard', '--deduplicate'];
const paths = execFileSync('git', ['ls-files', ...states, '--', ...process.argv.slice(2)], {
  encoding: 'utf8',
});
if (paths !== '') {
  console.error(`These generated files are out of date. Commit them as they are now:\n${paths}`);
  process.exitCode = 1;
}
