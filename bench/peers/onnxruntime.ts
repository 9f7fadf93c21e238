/**
 * onnxruntime-node as a contender, driven as well as its interface allows: graphs optimised and
 * weights packed when they are loaded; keys and values of the source computed once and fed back as
 * the same tensors; keys and values of the text in two sets of buffers that outputs are written to,
 * so that nothing is copied between steps; the first step's graph used once per source.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { argmax, bestContinuations, type Candidate } from './choose.ts';
import { serve, type Contender, type DecodedTokens } from './contender.ts';
import { OnnxDecoder, type FirstStep } from './onnx-decoder.ts';
import type { DecodingOptions, LoadOptions } from './protocol.ts';

interface Sessions {
  readonly encoder: InferenceSession;
  readonly firstStep: InferenceSession;
  readonly laterStep: InferenceSession;
}

interface Config {
  readonly eos_token_id: number;
  readonly decoder_start_token_id: number;
}

/** A beam: its tokens, and the sum of their log-probabilities. */
interface Beam {
  readonly tokenIds: readonly number[];
  readonly score: number;
}

class OnnxRuntime implements Contender {
  #sessions: Sessions | undefined;
  #config: Config | undefined;
  #mostTokens = 0;
  #first: FirstStep | undefined;

  async load({ directory, dtype, threads, mostTokens }: LoadOptions): Promise<void> {
    const suffix = dtype === 'int8' ? '_quantized' : '';
    const create = (name: string): Promise<InferenceSession> =>
      InferenceSession.create(path.join(directory, 'onnx', `${name}${suffix}.onnx`), {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
      });
    const text = await readFile(path.join(directory, 'config.json'), 'utf8');
    this.#config = JSON.parse(text) as Config;
    this.#mostTokens = mostTokens;
    this.#sessions = {
      encoder: await create('encoder_model'),
      firstStep: await create('decoder_model'),
      laterStep: await create('decoder_with_past_model'),
    };
  }

  async encode(sources: readonly (readonly number[])[]): Promise<void> {
    const { encoder, firstStep } = this.#use(this.#sessions);
    const { decoder_start_token_id: start } = this.#use(this.#config);
    this.#first = undefined;
    const rows = sources.length;
    const dims = [rows, sources[0]?.length ?? 0];
    const ids = BigInt64Array.from(sources.flat(), BigInt);
    const mask = new Tensor('int64', new BigInt64Array(ids.length).fill(1n), dims);
    const encoded = await encoder.run({
      input_ids: new Tensor('int64', ids, dims),
      attention_mask: mask,
    });
    const outputs = (await firstStep.run({
      input_ids: new Tensor('int64', new BigInt64Array(rows).fill(BigInt(start)), [rows, 1]),
      encoder_attention_mask: mask,
      encoder_hidden_states: encoded['last_hidden_state']!,
    })) as Record<string, Tensor>;
    this.#first = {
      logits: outputs['logits']!.data as Float32Array,
      self: presents(outputs, '.decoder.'),
      cross: presents(outputs, '.encoder.'),
      sourceMask: mask,
    };
  }

  async decode({ numBeams, newTokens }: DecodingOptions): Promise<DecodedTokens> {
    const first = this.#use(this.#first);
    const { laterStep } = this.#use(this.#sessions);
    const decoder = new OnnxDecoder(laterStep, first, numBeams, this.#mostTokens);
    const search = numBeams === 1 ? greedySearch : beamSearch;
    const bound = {
      decoder,
      first,
      newTokens,
      numBeams,
      end: this.#use(this.#config).eos_token_id,
    };
    const start = performance.now();
    const tokenIds = await search(bound);
    // The first token needs no step: its logits are there.
    return { stepMilliseconds: (performance.now() - start) / (newTokens - 1), tokenIds };
  }

  release(): Promise<void> {
    this.#first = undefined;
    return Promise.resolve();
  }

  #use<T>(value: T | undefined): T {
    if (value === undefined) throw new Error('called out of order');
    return value;
  }
}

interface Search {
  readonly decoder: OnnxDecoder;
  readonly first: FirstStep;
  readonly newTokens: number;
  readonly numBeams: number;
  /** The end token, which is never chosen. */
  readonly end: number;
}

async function greedySearch({ decoder, first, newTokens, end }: Search): Promise<number[][]> {
  const { rows } = decoder;
  const vocabSize = first.logits.length / rows;
  const choose = (logits: Float32Array): number[] =>
    Array.from({ length: rows }, (_, row) => {
      logits[row * vocabSize + end] = -Infinity;
      return argmax(logits, row * vocabSize, vocabSize);
    });
  let last = choose(first.logits);
  const chosen = last.map((tokenId) => [tokenId]);
  for (let step = 1; step < newTokens; ++step) {
    last = choose(await decoder.step(last));
    last.forEach((tokenId, row) => chosen[row]?.push(tokenId));
  }
  return chosen;
}

async function beamSearch({ decoder, first, newTokens, numBeams, end }: Search) {
  const sources = decoder.rows / numBeams;
  const vocabSize = first.logits.length / sources;
  const ban = (logits: Float32Array, rows: number): void => {
    for (let row = 0; row < rows; ++row) logits[row * vocabSize + end] = -Infinity;
  };
  ban(first.logits, sources);
  let beams = Array.from({ length: sources }, (_, source) =>
    bestContinuations(first.logits, vocabSize, [{ row: source, score: 0 }], numBeams).map(
      ({ score, tokenId }): Beam => ({ score, tokenIds: [tokenId] }),
    ),
  );
  for (let step = 1; step < newTokens; ++step) {
    const logits = await decoder.step(beams.flat().map(({ tokenIds }) => tokenIds.at(-1)!));
    ban(logits, decoder.rows);
    const candidates = beams.map((own, source) =>
      bestContinuations(logits, vocabSize, rowsOf(own, source * numBeams), numBeams),
    );
    decoder.reorder(candidates.flat().map(({ row }) => row));
    const previous = beams.flat();
    beams = candidates.map((own) => own.map((candidate) => extend(previous, candidate)));
  }
  return beams.map(([best]) => best?.tokenIds ?? []);
}

function rowsOf(beams: readonly Beam[], firstRow: number) {
  return beams.map(({ score }, i) => ({ row: firstRow + i, score }));
}

function extend(previous: readonly Beam[], { row, score, tokenId }: Candidate): Beam {
  return { score, tokenIds: [...(previous[row]?.tokenIds ?? []), tokenId] };
}

/** Outputs "present.…" of one kind, by the rest of their names. */
function presents(outputs: Readonly<Record<string, Tensor>>, kind: string): Map<string, Tensor> {
  return new Map(
    Object.entries(outputs)
      .filter(([name]) => name.startsWith('present.') && name.includes(kind))
      .map(([name, tensor]) => [name.slice('present.'.length), tensor]),
  );
}

serve(new OnnxRuntime());
