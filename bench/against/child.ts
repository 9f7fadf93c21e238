/**
 * Measures the tree whose folder is its argument, through that tree's own `src/index.ts`: it may be
 * older than this file. What it is measured by, and how, is this tree's.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { encodingSubject, stepSubject, type Subject } from '../../src/bench/subjects.ts';
import type * as Api from '../../src/index.ts';
import type { NativeBinding } from '../../src/native.ts';
import { answerRequests, Impossible } from '../asked-process.ts';
import type { Work } from './cases.ts';
import type { Request, TreeDescription } from './protocol.ts';

const [tree] = process.argv.slice(2);
if (tree === undefined) throw new Error('the folder of a tree is missing');

function importFrom(file: string): Promise<unknown> {
  return import(pathToFileURL(path.join(String(tree), 'src', file)).href);
}

let model: Api.Model | undefined;
let subject: Subject | undefined;

async function release(): Promise<void> {
  await subject?.[Symbol.asyncDispose]();
  subject = undefined;
}

async function load(config: Readonly<Record<string, unknown>>, dtype: Api.ComputeDtype) {
  await release();
  await model?.dispose();
  model = undefined;
  const { createModel } = (await importFrom('index.ts')) as typeof Api;
  try {
    model = await createModel(config, { device: 'cpu', dtype });
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    if (code !== 'UNSUPPORTED') throw error;
    throw new Impossible(error instanceof Error ? error.message : String(error));
  }
}

async function prepare(work: Work): Promise<void> {
  await release();
  if (model === undefined) throw new Error('no model is loaded');
  const { Engine } = (await importFrom('index.ts')) as typeof Api;
  subject =
    'step' in work
      ? await stepSubject(model, work.step, Engine)
      : await encodingSubject(model, work.encoding, Engine);
}

async function measure(): Promise<number> {
  if (subject === undefined) throw new Error('nothing is prepared');
  return subject.measure();
}

async function describe(): Promise<TreeDescription> {
  const { native } = (await importFrom('native.ts')) as { native: () => NativeBinding };
  const { isa, threads } = native().cpu() as Partial<ReturnType<NativeBinding['cpu']>>;
  return { isa, threads: threads ?? 0 };
}

async function perform(request: Request): Promise<unknown> {
  switch (request.call) {
    case 'load':
      return load(request.config, request.dtype);
    case 'prepare':
      return prepare(request.work);
    case 'measure':
      return measure();
    case 'describe':
      return describe();
  }
}

answerRequests((request) => perform(request as Request));
