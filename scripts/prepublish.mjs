// Refuses to publish while package.json holds addresses of the reserved domain `.example`: where the
// repository will be is decided by who publishes it.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './lib/native-build.mjs';

const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8');
const placeholders = text.match(/"[^"]*\.example\b[^"]*"/g) ?? [];
if (placeholders.length > 0) {
  process.stderr.write(`package.json: replace ${placeholders.join(', ')} before publishing\n`);
  process.exitCode = 1;
}
