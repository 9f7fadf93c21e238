/** Loads, converts, decodes and disposes again and again; prints resident memory after each cycle. */
import { Engine, loadModel, Trainer } from '../../../src/index.ts';

const [directory = '', cycles = '0'] = process.argv.slice(2);

async function cycle(): Promise<void> {
  await using multiHead = await loadModel(directory);
  await using weighted = await multiHead.convert({ kvHeads: 2, merge: 'weighted' });
  await using trainer = new Trainer(weighted, {
    optimizer: { type: 'adamw', learningRate: 1e-3 },
  });
  await trainer.step({ inputIds: [[5, 6, 7, 1]], labels: [[8, 9, 1]] });
  await using folded = await weighted.fold();
  await using engine = new Engine(folded);
  await engine.generate({ inputIds: [5, 6, 7, 1], maxNewTokens: 8, numBeams: 2 });
}

const resident: number[] = [];
for (let i = 0; i < Number(cycles); ++i) {
  await cycle();
  globalThis.gc?.();
  resident.push(process.memoryUsage.rss());
}
process.stdout.write(JSON.stringify(resident));
