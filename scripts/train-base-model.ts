/**
 * Trains the demo's multi-head T5 from random weights on the training pairs of
 * fetch-debian-data.ts, with the tokenizer of train-tokenizer.ts, and writes it as a bfloat16
 * checkpoint. Half of the examples ask for the synopsis; the other half for the second half of a
 * description given the first (the prefix language modelling of Raffel et al. 2020, section 3.2.2),
 * since a synopsis alone is little to learn a language from. It saves its state as it goes and
 * continues from there when started again:
 *
 *   npx tsx scripts/train-base-model.ts [--data data/debian/summarize] [--out demo/model]
 *     [--work data/base-model] [--steps 4000] [--batch-size 32]
 */
import { existsSync, mkdirSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  createDataset,
  createModel,
  loadTokenizer,
  readPairs,
  tokenizePairs,
  Trainer,
  type Example,
  type Model,
  type TextPair,
} from '../src/index.ts';

const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: 'data/debian/summarize' },
    out: { type: 'string', default: 'demo/model' },
    work: { type: 'string', default: 'data/base-model' },
    steps: { type: 'string', default: '4000' },
    'batch-size': { type: 'string', default: '32' },
  },
});

/** T5 v1.1 in small; 8 heads leave room for 4, 2 and 1 K/V heads. */
const ARCHITECTURE = {
  architectures: ['T5ForConditionalGeneration'],
  model_type: 't5',
  is_encoder_decoder: true,
  vocab_size: 8192,
  d_model: 256,
  d_kv: 32,
  d_ff: 512,
  num_layers: 3,
  num_decoder_layers: 4,
  num_heads: 8,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  dropout_rate: 0.1,
  layer_norm_epsilon: 1e-6,
  initializer_factor: 1.0,
  feed_forward_proj: 'gated-gelu',
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
  decoder_start_token_id: 0,
  use_cache: true,
};

const SUMMARIZE = 'summarize: ';
const CONTINUE = 'continue: ';
const SUMMARIZE_LIMITS = { maxSourceTokens: 128, maxTargetTokens: 32 };
const CONTINUE_LIMITS = { maxSourceTokens: 64, maxTargetTokens: 48 };
const SEED = 1;
const CHECKPOINT_EVERY_STEPS = 250;
const REPORT_EVERY_STEPS = 25;

const steps = Number(options.steps);
const batchSize = Number(options['batch-size']);
const tokenizer = await loadTokenizer(options.out);

function summaries(split: string): Promise<Example[]> {
  return tokenizePairs(
    readPairs(join(options.data, `${split}.jsonl`)),
    tokenizer,
    SUMMARIZE_LIMITS,
  );
}

async function* halves(split: string): AsyncGenerator<TextPair> {
  for await (const { source } of readPairs(join(options.data, `${split}.jsonl`))) {
    const words = source.slice(SUMMARIZE.length).split(' ');
    const middle = words.length >> 1;
    if (middle === 0) continue;
    yield {
      source: CONTINUE + words.slice(0, middle).join(' '),
      target: words.slice(middle).join(' '),
    };
  }
}

function continuations(split: string): Promise<Example[]> {
  return tokenizePairs(halves(split), tokenizer, CONTINUE_LIMITS);
}

async function startTrainer(): Promise<{ model: Model; trainer: Trainer }> {
  const checkpoint = join(options.work, 'checkpoint');
  if (existsSync(join(checkpoint, 'trainer.json'))) {
    const trainer = await Trainer.resume(checkpoint);
    return { model: trainer.model, trainer };
  }
  const model = await createModel(ARCHITECTURE, { seed: SEED });
  const trainer = new Trainer(model, {
    // Updates in proportion to the weights: T5's embeddings start 16 times larger than its matrices.
    optimizer: { type: 'adafactor', learningRate: 1e-2, scaleParameter: true },
    schedule: { type: 'linear', warmupSteps: 100, totalSteps: steps },
    dropout: 0, // fewer than three passes over the data: there is nothing to regularise
    seed: SEED,
  });
  return { model, trainer };
}

mkdirSync(options.work, { recursive: true });
const { model, trainer } = await startTrainer();
console.log(`${String(model.parameterCount)} parameters`);
const training = [...(await summaries('train')), ...(await continuations('train'))];
const held = createDataset(await summaries('validation'), { batchSize, shuffle: false });
await trainer.fit(createDataset(training, { batchSize, seed: SEED }), {
  steps,
  evaluate: { dataset: held, everySteps: CHECKPOINT_EVERY_STEPS },
  checkpoint: { dir: join(options.work, 'checkpoint'), everySteps: CHECKPOINT_EVERY_STEPS },
  metricsFile: join(options.work, 'metrics.jsonl'),
  onStep: (report) => {
    if (report.step % REPORT_EVERY_STEPS !== 0) return;
    const minutesLeft = (report.millisecondsLeft / 60_000).toFixed(1);
    console.log(
      `step ${String(report.step)}/${String(report.totalSteps)} loss ${report.loss.toFixed(4)} ` +
        `${report.tokensPerSecond.toFixed(0)} tokens/s, ${minutesLeft} min left`,
    );
  },
  onEvaluate: (report) => {
    console.log(`step ${String(report.step)} validation loss ${report.loss.toFixed(4)}`);
  },
});
const trained = join(options.work, 'model');
await model.save(trained, { dtype: 'bfloat16' });
for (const file of ['config.json', 'generation_config.json', 'model.safetensors']) {
  if (existsSync(join(trained, file))) await cp(join(trained, file), join(options.out, file));
}
await model.dispose();
