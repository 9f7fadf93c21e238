/** The thread of an engine over ONNX graphs: it takes requests one after the other. */
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { WgqaError } from '../errors.ts';
import { makeStrategy, StopStrings, type OnToken } from './decoding/index.ts';
import { GraphRunner, type Graphs } from './graph-runner.ts';
import { candidateCounts } from './request-check.ts';
import {
  cloneError,
  type FromThread,
  type ThreadRequest,
  type ThreadSettings,
  type ToThread,
} from './protocol.ts';
import { loadRuntime, openSession, type Runtime } from './runtime.ts';

async function openGraphs(runtime: Runtime, settings: ThreadSettings): Promise<Graphs> {
  const { encoder, decoder, decoderWithPast } = settings.files;
  const opened = await openSession(runtime, decoder, settings);
  return {
    encoder: await openSession(runtime, encoder, settings),
    decoder: opened,
    decoderWithPast:
      decoder === decoderWithPast ? opened : await openSession(runtime, decoderWithPast, settings),
  };
}

/** Throws what ends a request between two steps. */
function checkGoesOn({ abandoned, deadline }: ThreadRequest): void {
  if (Atomics.load(abandoned, 0) !== 0) throw new WgqaError('ABORTED', 'the request was given up');
  if (Date.now() <= deadline) return;
  const message = 'the request was not done within its timeout';
  throw new WgqaError('TIMEOUT', message, { field: 'timeout' });
}

async function decode(runner: GraphRunner, request: ThreadRequest, onToken: OnToken) {
  const { options, prompt, stops, pieces, inputIds, mask, submitted } = request;
  const { maxTimeMilliseconds: maxTime } = options;
  checkGoesOn(request);
  const begun = Date.now();
  const strategy = makeStrategy(
    {
      options,
      prompt,
      source: inputIds.filter((_, i) => mask[i] === 1),
      stops: new StopStrings(stops, pieces),
      candidates: candidateCounts(options, stops),
    },
    onToken,
  );
  const decoding = await runner.start({ inputIds, mask }, prompt);
  let firstToken = 0;
  for (;;) {
    for (const [row, logits] of decoding.logits.entries()) strategy.score(row, logits);
    if (maxTime > 0 && Date.now() - submitted > maxTime) strategy.setLastStep();
    strategy.advance();
    firstToken ||= Date.now();
    if (strategy.continuations.length === 0) break;
    checkGoesOn(request);
    await decoding.next(strategy.continuations);
  }
  return {
    sequences: strategy.sequences(),
    queueMilliseconds: begun - submitted,
    firstTokenMilliseconds: firstToken - submitted,
    totalMilliseconds: Date.now() - submitted,
    cachedPromptTokens: 0,
    preemptions: 0,
  };
}

async function serve(port: MessagePort, runner: GraphRunner, request: ThreadRequest) {
  const { id, reportTokens } = request;
  const tell = (message: FromThread): void => {
    port.postMessage(message);
  };
  try {
    const result = await decode(runner, request, (sequence, tokenId, logProb, top) => {
      const alternatives = top.map(({ token, score }) => ({ tokenId: token, logProb: score }));
      if (reportTokens) tell({ kind: 'token', id, sequence, tokenId, logProb, alternatives });
    });
    tell({ kind: 'finished', id, result });
  } catch (error) {
    tell({ kind: 'failed', id, error: cloneError(error) });
  }
}

async function main(port: MessagePort, settings: ThreadSettings): Promise<void> {
  const runtime = await loadRuntime();
  const graphs = await openGraphs(runtime, settings);
  const runner = new GraphRunner(runtime, graphs, settings);
  let last = Promise.resolve();
  port.on('message', (message: ToThread) => {
    last = last.then(async () => {
      if (message.kind === 'request') {
        await serve(port, runner, message.request);
        return;
      }
      const { encoder, decoder, decoderWithPast } = graphs;
      const sessions = new Set([encoder, decoder, decoderWithPast]);
      for (const session of sessions) await session.release();
      port.close();
    });
  });
  port.postMessage({ kind: 'ready' } satisfies FromThread);
}

const port = parentPort;
if (port !== null) {
  main(port, workerData as ThreadSettings).catch((error: unknown) => {
    port.postMessage({ kind: 'refused', error: cloneError(error) } satisfies FromThread);
    port.close();
  });
}
