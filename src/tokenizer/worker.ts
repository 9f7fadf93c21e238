/**
 * The thread in which tokenizers are loaded and texts encoded, so that neither holds up the event loop.
 * The library itself works in libuv's threads; of these, it takes two at a time.
 */
import { workerData, type MessagePort } from 'node:worker_threads';
import { cloneError, invalidArgument, WgqaError } from '../errors.ts';
import { describeTokenizer, malformed, type Description } from './description/index.ts';
import { loadLibrary, type LibraryTokenizer } from './library.ts';
import type {
  EncodeRequest,
  FromThread,
  LoadedTokenizer,
  Request,
  Results,
  ToThread,
} from './protocol.ts';
import { readTokenizerFiles } from './sources/files.ts';

const LANES = 2;
/** Characters of a text once it is normalised: some become eighteen. */
const MAX_NORMALIZED = 2_000_000;
/** Beyond this, a text is not even normalised to see. */
const MAX_GROWN = 20_000_000;

interface Loaded {
  readonly tokenizer: LibraryTokenizer;
  /** By how many times normalising may lengthen a text. */
  readonly growth: number;
}

const loaded = new Map<number, Loaded>();
let nextHandle = 1;

async function load(directory: string): Promise<LoadedTokenizer> {
  const { Tokenizer } = await loadLibrary();
  const description = describeTokenizer(await readTokenizerFiles(directory));
  const tokenizer = interpreting(() => Tokenizer.fromString(JSON.stringify(description.library)));
  const { tokens, addedIds, specialIds, decoder, padTokenId, eosTokenId, unkTokenId } = description;
  const handle = nextHandle++;
  // Normalisers lengthen texts by Unicode's own rules, too: by eighteen times at most.
  const growth = Math.max(description.growth, tokenizer.getNormalizer() === null ? 1 : 18);
  loaded.set(handle, { tokenizer, growth });
  const decodedTokens = decodedTexts(tokenizer, description);
  return {
    ...{ handle, tokens, decodedTokens, addedIds, specialIds, decoder },
    ...{ padTokenId, eosTokenId, unkTokenId },
  };
}

/** Tokens that are searched for in normalised text are normalised themselves, and decoded so. */
function decodedTexts(tokenizer: LibraryTokenizer, { tokens, normalizedIds }: Description) {
  const normalizer = tokenizer.getNormalizer();
  const texts = new Map<number, string>();
  if (normalizer === null) return texts;
  for (const id of normalizedIds) {
    const token = tokens[id] ?? '';
    const text = interpreting(() => normalizer.normalizeString(token));
    if (text !== token) texts.set(id, text);
  }
  return texts;
}

/** What the library refuses is the file's fault. */
function interpreting<T>(use: () => T): T {
  try {
    return use();
  } catch (cause) {
    throw malformed('tokenizer.json', `cannot be interpreted: ${String(cause)}`, cause);
  }
}

async function encode({ handle, texts, addSpecialTokens }: EncodeRequest): Promise<Int32Array[]> {
  const tokenizer = loaded.get(handle);
  if (tokenizer === undefined) throw new WgqaError('INTERNAL', 'the tokenizer was released');
  return Promise.all(
    texts.map((text) => inLane(() => encodeText(tokenizer, text, addSpecialTokens))),
  );
}

async function encodeText(
  { tokenizer, growth }: Loaded,
  text: string,
  addSpecialTokens: boolean,
): Promise<Int32Array> {
  checkNormalizedLength(tokenizer, growth, text);
  try {
    const encoding = await tokenizer.encode(text, null, { addSpecialTokens });
    return Int32Array.from(encoding.getIds());
  } catch (cause) {
    throw malformed('tokenizer.json', `cannot encode a text: ${String(cause)}`, cause);
  }
}

function checkNormalizedLength(tokenizer: LibraryTokenizer, growth: number, text: string): void {
  if (text.length * growth <= MAX_NORMALIZED) return;
  const allowed = `at most ${MAX_NORMALIZED} characters once it is normalised`;
  if (text.length * growth > MAX_GROWN) throw invalidArgument('text', allowed, text);
  const normalized = tokenizer.getNormalizer()?.normalizeString(text) ?? text;
  if (normalized.length > MAX_NORMALIZED) throw invalidArgument('text', allowed, text);
}

let free = LANES;
const waiting: (() => void)[] = [];

/** Runs `work` when fewer than two others run. */
async function inLane<T>(work: () => Promise<T>): Promise<T> {
  if (free > 0) free -= 1;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  }
}

async function answer(request: Request): Promise<Results[keyof Results]> {
  return request.kind === 'load' ? load(request.directory) : encode(request);
}

function serve(port: MessagePort): void {
  port.on('message', (message: ToThread) => {
    if (message.kind === 'release') {
      loaded.delete(message.handle);
      return;
    }
    const { id, request, answered } = message;
    const tell = (reply: FromThread): void => {
      port.postMessage(reply);
      if (answered === undefined) return;
      Atomics.store(answered, 0, 1);
      Atomics.notify(answered, 0);
    };
    answer(request).then(
      (result) => {
        tell({ id, result });
      },
      (error: unknown) => {
        tell({ id, error: cloneError(error) });
      },
    );
  });
}

serve((workerData as { port: MessagePort }).port);
