// Empties dist/: what was compiled from sources that are gone would be packed, too.
import { rmSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './lib/native-build.mjs';

rmSync(path.join(ROOT, 'dist'), { recursive: true, force: true });
