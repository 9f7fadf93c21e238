/**
 * `dtype: 'auto'`: the fastest compute type that the accuracy admits, for decoding steps of an
 * expected batch, measured once per machine and shape.
 */
import {
  callNative,
  native,
  type ComputeDtype,
  type Device,
  type FloatDtype,
  type NativeModelConfig,
} from '../native.ts';
import { admittedDtypes } from './admitted.ts';
import { measureSteps, type MeasureSteps } from './measure.ts';
import { probeRows, probeShapeOf } from './probe.ts';
import {
  fileOf,
  recall,
  remember,
  userCacheDirectory,
  type MeasurementKey,
  type StepMilliseconds,
} from './remembered.ts';
import type { Accuracy, DtypeChoice } from './types.ts';

export const DEFAULT_EXPECTED_BATCH = 8;

/** A less exact type has to be faster by so much: less could be chance. */
const LEAST_GAIN = 1.01;

export interface ChoiceRequest {
  readonly config: NativeModelConfig;
  /** That holds all weights of the file; float32 where there is none. */
  readonly fileDtype: FloatDtype;
  readonly accuracy: Accuracy | undefined;
  readonly expectedBatch: number;
  readonly device: 'auto' | Device;
  /** 0: one per core. */
  readonly threads: number;
}

/** What the choice asks of its surroundings. */
export interface Surroundings {
  readonly processor: string;
  readonly isa: string;
  readonly threads: number;
  readonly version: string;
  readonly cacheDirectory: string;
  readonly resolveDevice: (device: 'auto' | Device, headDim: number) => Promise<Device>;
  readonly measure: MeasureSteps;
}

export function surroundings(): Surroundings {
  const { processor, isa, threads } = native().cpu();
  return {
    processor,
    isa,
    threads,
    version: native().version,
    cacheDirectory: userCacheDirectory(),
    resolveDevice: (device, headDim) =>
      callNative(() => native().resolveDevice(device, 'float32', headDim)),
    measure: measureSteps,
  };
}

/** Off the event loop; many at once measure a shape once. @throws WgqaError UNSUPPORTED */
export async function chooseDtype(
  request: ChoiceRequest,
  around: Surroundings = surroundings(),
): Promise<DtypeChoice> {
  const { config, fileDtype, accuracy, expectedBatch } = request;
  const device = await around.resolveDevice(request.device, config.dKv);
  const admitted = admittedDtypes(fileDtype, accuracy, device);
  const choice = { admitted, device, expectedBatch };
  const why = whyAdmitted(fileDtype, accuracy);
  const [only, ...others] = admitted;
  if (only !== undefined && others.length === 0) {
    return { ...choice, dtype: only, reason: `${only} is the only type that ${why} admits` };
  }
  if (device === 'cuda') {
    const dtype = onGpu(admitted, fileDtype);
    return { ...choice, dtype, reason: `of what ${why} admits, a GPU is fastest in 16 bits` };
  }
  const measured = await measuredOnce(request, around);
  const dtype = fastest(admitted, measured);
  const times = Object.entries(measured).map(([name, one]) => `${name} ${one.toFixed(2)}`);
  const reason =
    `the fastest type that ${why} admits (${admitted.join(', ')}) for steps of ` +
    `${expectedBatch} rows: ${times.join(', ')} ms in a model of this shape with fewer layers`;
  return { ...choice, dtype, reason, measured };
}

function whyAdmitted(fileDtype: FloatDtype, accuracy: Accuracy | undefined): string {
  return accuracy === undefined ? `a file in ${fileDtype}` : `accuracy '${accuracy}'`;
}

/** The file's own type, if it has 16 bits: nothing is rounded then. */
function onGpu(admitted: readonly ComputeDtype[], fileDtype: FloatDtype): ComputeDtype {
  if (fileDtype !== 'float32' && admitted.includes(fileDtype)) return fileDtype;
  return admitted.includes('bfloat16') ? 'bfloat16' : 'float16';
}

/** `admitted` begins with the most exact type. */
export function fastest(
  admitted: readonly ComputeDtype[],
  measured: StepMilliseconds,
): ComputeDtype {
  let best: ComputeDtype = 'float32';
  for (const dtype of admitted) {
    const [mine, others] = [measured[dtype], measured[best]];
    if (mine !== undefined && others !== undefined && mine * LEAST_GAIN < others) best = dtype;
  }
  return best;
}

/** By file: what is being measured, or was. */
const inProcess = new Map<string, Promise<StepMilliseconds>>();

async function measuredOnce(
  { config, expectedBatch, threads }: ChoiceRequest,
  around: Surroundings,
): Promise<StepMilliseconds> {
  const { processor, isa, version, cacheDirectory } = around;
  const key: MeasurementKey = {
    processor,
    isa,
    threads: threads === 0 ? around.threads : threads,
    version,
    rows: probeRows(expectedBatch),
    shape: probeShapeOf(config),
  };
  const file = fileOf(cacheDirectory, key);
  const known = inProcess.get(file);
  if (known !== undefined) return known;
  const pending = recallOrMeasure(key, config, around);
  inProcess.set(file, pending);
  // A failure is not what later calls should get.
  pending.catch(() => inProcess.delete(file));
  return pending;
}

async function recallOrMeasure(
  key: MeasurementKey,
  config: NativeModelConfig,
  { cacheDirectory, measure }: Surroundings,
): Promise<StepMilliseconds> {
  const recalled = await recall(cacheDirectory, key);
  if (recalled !== undefined) return recalled;
  const measured = await measure(config, key.rows, key.threads);
  await remember(cacheDirectory, key, measured);
  return measured;
}
