/** Reads one chunk of a stream and forgets it: the process has nothing left to do, and ends. */
import { createModel, Engine } from '../../../src/index.ts';
import { TINY_V10 } from '../../support/tiny-model.ts';

const model = await createModel({ ...TINY_V10 }, { seed: 1, device: 'cpu' });
const engine = new Engine(model);
const stream = engine.stream({ inputIds: [5, 1], maxNewTokens: 4000, minNewTokens: 4000 });
process.stdout.write(JSON.stringify((await stream.next()).done));
